#include "daemon/plugin/settling.hpp"

#include <doctest/doctest.h>

using namespace smarmd::plugin;
using namespace std::chrono_literals;

TEST_CASE("a path is due once it has been quiet") {
  Settling settling(100ms, 2s);
  const Settling::Clock::time_point start{};
  CHECK_FALSE(settling.next().has_value());
  settling.touch("b", start);
  settling.touch("a", start + 10ms);
  settling.touch("b", start + 50ms);
  CHECK(settling.next() == start + 110ms);
  CHECK(settling.take(start + 109ms).empty());
  CHECK(settling.take(start + 110ms) == std::vector<std::filesystem::path>{"a"});
  CHECK(settling.next() == start + 150ms);
  CHECK(settling.take(start + 1s) == std::vector<std::filesystem::path>{"b"});
  CHECK_FALSE(settling.next().has_value());
}

TEST_CASE("a path that never gets quiet is due at the limit") {
  Settling settling(100ms, 2s);
  const Settling::Clock::time_point start{};
  auto now = start;
  while (settling.take(now).empty()) {
    settling.touch("busy", now);
    now += 50ms;
    REQUIRE(now < start + 10s);
  }
  CHECK(now == start + 2s);
  settling.touch("busy", now);
  CHECK(settling.next() == now + 100ms);  // counted anew
}
