#include "runtime/sync/backlog.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

using smarm::Growth;

namespace {

constexpr std::uint64_t kFirst = 1000;
constexpr std::uint64_t kLater = Growth::kQuiet_ns;

// The depths that are told, of those that were seen at one moment each.
std::vector<std::uint64_t> told(Growth& growth, const std::vector<std::uint64_t>& depths,
                                std::uint64_t at, std::uint64_t first = kFirst) {
  std::vector<std::uint64_t> news;
  for (const std::uint64_t d : depths) {
    if (growth.is_news(d, first, at)) news.push_back(d);
  }
  return news;
}

using Depths = std::vector<std::uint64_t>;

}  // namespace

TEST_SUITE("growth of a mailbox") {
  TEST_CASE("is news at the first threshold and at each doubling, once") {
    Growth growth;
    CHECK(told(growth, {1, 999, 1000, 1001, 1999, 2000, 3999, 1500, 4000, 4001}, 1) ==
          Depths{1000, 2000, 4000});
  }

  TEST_CASE("that jumps over thresholds is news once") {
    Growth growth;
    CHECK(told(growth, {9000, 9001, 15'999, 16'000}, 1) == Depths{9000, 16'000});
  }

  TEST_CASE("begins anew below a quarter of what was told, and not above it") {
    Growth growth;
    CHECK(told(growth, {4000}, 1) == Depths{4000});
    CHECK(told(growth, {1000, 3999, 7999}, 1 + kLater) == Depths{});
    CHECK(told(growth, {999, 1000}, 1 + kLater) == Depths{1000});
  }

  TEST_CASE("what was told before is told again after a minute; a new peak at once") {
    Growth growth;
    CHECK(told(growth, {1000, 2000, 4000}, 1) == Depths{1000, 2000, 4000});
    CHECK(told(growth, {10, 1000, 2000, 4000, 8000}, kLater) == Depths{8000});
    CHECK(told(growth, {10, 1000}, 2 * kLater - 1) == Depths{});
    CHECK(told(growth, {10, 1000}, 2 * kLater) == Depths{1000});
  }

  TEST_CASE("is never news with no threshold; a higher one counts from now on") {
    Growth growth;
    CHECK(told(growth, {1'000'000}, 1, 0) == Depths{});
    CHECK(told(growth, {1000}, 1) == Depths{1000});
    CHECK(told(growth, {2000, 9999, 10'000}, 1, 10'000) == Depths{10'000});
  }
}
