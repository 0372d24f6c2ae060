// SMARM_TRACE and trace::record.
#include "tests/unit/public/support.hpp"

#include <algorithm>
#include <map>
#include <string>

using namespace test;
namespace trace = smarm::trace;

namespace {

// Tracing on and the rings empty; off again at the end.
struct Tracing {
  Tracing() {
    trace::enable(true);
    (void)trace::read();
  }
  ~Tracing() {
    trace::enable(false);
    (void)trace::read();
  }
};

std::vector<trace::Event> read_named(std::string_view name) {
  auto events = trace::read();
  std::erase_if(events, [name](const trace::Event& e) { return std::string_view(e.name) != name; });
  return events;
}

}  // namespace

TEST_SUITE("public trace") {
  TEST_CASE("off by default, and the macro then evaluates nothing") {
    CHECK_FALSE(trace::enabled());
    int evaluated = 0;
    run_at(1, [&evaluated] { SMARM_TRACE("never", static_cast<std::uint64_t>(++evaluated)); });
    CHECK(evaluated == 0);
    CHECK(read_named("never").empty());
  }

  TEST_CASE("events carry name, numbers and pid, oldest first for each worker") {
    for_each_worker_count([](unsigned workers) {
      Tracing tracing;
      smarm::Pid pid;
      run_at(workers, [&pid] {
        pid = smarm::self_pid();
        for (std::uint64_t i = 0; i < 100; ++i) SMARM_TRACE("event", i, i * 2);
        trace::record("plain");
      });
      const auto events = read_named("event");
      REQUIRE(events.size() == 100);
      std::map<std::uint32_t, std::uint64_t> last_tsc;
      std::uint64_t expected = 0;
      bool right = true;
      for (const auto& e : events) {
        right = right && e.a == expected && e.b == 2 * expected && smarm::Pid(e.pid) == pid &&
                e.worker < workers;
        right = right && e.tsc >= last_tsc[e.worker];
        last_tsc[e.worker] = e.tsc;
        ++expected;
      }
      CHECK(right);
    });
  }

  TEST_CASE("a span is two events, also when an exception ends it") {
    Tracing tracing;
    run_at(1, [] {
      {
        trace::Span span("parse");
      }
      try {
        trace::Span span("parse");
        throw 1;
      } catch (int) {
      }
    });
    const auto events = read_named("parse");
    REQUIRE(events.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) CHECK(events[i].a == (i % 2 ? 0 : 1));
  }

  TEST_CASE("reading drains; a ring that is full loses its oldest and counts them") {
    Tracing tracing;
    run_at(1, [] {
      SMARM_TRACE("once");
      CHECK(read_named("once").size() == 1);
      CHECK(read_named("once").empty());
    });
    const std::uint64_t before = trace::dropped();
    constexpr std::uint64_t kMany = 1 << 21;
    run_at(1, [] {
      for (std::uint64_t i = 0; i < kMany; ++i) SMARM_TRACE("flood", i);
    });
    std::vector<trace::Event> all;
    for (auto part = trace::read(); !part.empty(); part = trace::read())
      all.insert(all.end(), part.begin(), part.end());
    std::erase_if(all, [](const trace::Event& e) { return std::string_view(e.name) != "flood"; });
    REQUIRE_FALSE(all.empty());
    CHECK(all.back().a == kMany - 1);
    CHECK(trace::dropped() - before >= kMany - all.size());
  }

  TEST_CASE("records of many actors on many workers are all there") {
    for_each_worker_count([](unsigned workers) {
      Tracing tracing;
      run_at(workers, [] {
        std::vector<smarm::JoinHandle> actors;
        for (std::uint64_t a = 0; a < 10; ++a)
          actors.push_back(smarm::spawn([a] {
            for (int i = 0; i < 20; ++i) {
              SMARM_TRACE("many", a);
              smarm::yield_now();
            }
          }));
        smarm::join_all(actors);
      });
      std::map<std::uint64_t, int> count;
      for (const auto& e : read_named("many")) ++count[e.a];
      CHECK(count.size() == 10);
      for (const auto& [actor, n] : count) CHECK(n == 20);
    });
  }

  TEST_CASE("two runtimes record at once: every event is whole") {
    Tracing tracing;
    constexpr std::uint64_t kEach = 20000, kMark = 0x5a5a5a5a5a5a5a5a;
    std::atomic<int> present = 0;
    auto record = [&present](const char* name, std::uint64_t mark) {
      run_at(2, [&present, name, mark] {
        for (++present; present < 2;) {  // both at once
        }
        for (std::uint64_t i = 0; i < kEach; ++i) SMARM_TRACE(name, i, i ^ mark);
      });
    };
    std::thread other([&record] { record("other", ~kMark); });
    record("mine", kMark);
    other.join();
    std::map<std::string, std::uint64_t> next;
    bool whole = true;
    std::uint64_t seen = 0;
    for (auto part = trace::read(); !part.empty(); part = trace::read()) {
      for (const auto& e : part) {
        const std::string_view name = e.name;
        if (name != "mine" && name != "other") continue;
        whole = whole && (e.a ^ e.b) == (name == "mine" ? kMark : ~kMark);
        whole = whole && e.a >= next[e.name];  // one actor each, which does not move: in order
        next[e.name] = e.a + 1;
        ++seen;
      }
    }
    CHECK(whole);
    CHECK(next["mine"] == kEach);
    CHECK(next["other"] == kEach);
    CHECK(seen + trace::dropped() >= 2 * kEach);
  }
}
