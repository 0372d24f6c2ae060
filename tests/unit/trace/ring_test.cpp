#include "runtime/trace/ring.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace {

using namespace smarm;

smarm_trace_event event(std::uint64_t n) {
  smarm_trace_event e{};
  e.name = "test";
  e.tsc = n;
  e.a = n;
  e.b = ~n;
  return e;
}

TEST_SUITE("trace ring") {
  TEST_CASE("events come out in order, once") {
    auto ring = std::make_unique<TraceRing>();
    for (std::uint64_t i = 0; i < 100; ++i) ring->write(event(i));
    std::vector<smarm_trace_event> out(60);
    std::uint64_t lost = 0;
    REQUIRE(ring->read(out.data(), 60, lost) == 60);
    for (std::uint64_t i = 0; i < 60; ++i) CHECK(out[i].a == i);
    REQUIRE(ring->read(out.data(), 60, lost) == 40);
    CHECK(out[39].a == 99);
    CHECK(ring->read(out.data(), 60, lost) == 0);
    CHECK(lost == 0);
  }

  TEST_CASE("a full ring overwrites its oldest events and counts them") {
    auto ring = std::make_unique<TraceRing>();
    for (std::uint64_t i = 0; i < TraceRing::kEvents + 10; ++i) ring->write(event(i));
    std::vector<smarm_trace_event> out(TraceRing::kEvents);
    std::uint64_t lost = 0;
    CHECK(ring->read(out.data(), out.size(), lost) == TraceRing::kEvents);
    CHECK(lost == 10);
    CHECK(out.front().a == 10);
  }

  TEST_CASE(
      "stress: a reader beside the writer sees whole events in order, and every one is read or "
      "lost") {
    auto ring = std::make_unique<TraceRing>();
    constexpr std::uint64_t kEvents = 300'000;
    std::atomic<bool> done = false;
    std::thread writer([&] {
      for (std::uint64_t i = 0; i < kEvents; ++i) ring->write(event(i));
      done = true;
    });
    std::vector<smarm_trace_event> out(1000);
    std::uint64_t lost = 0, read = 0, last = 0;
    bool whole = true, ordered = true;
    for (;;) {
      const bool finished = done;
      const std::size_t n = ring->read(out.data(), out.size(), lost);
      for (std::size_t i = 0; i < n; ++i) {
        whole = whole && out[i].b == ~out[i].a && out[i].tsc == out[i].a;
        ordered = ordered && (read + i == 0 || out[i].a > last);
        last = out[i].a;
      }
      read += n;
      if (finished && n == 0) break;
    }
    writer.join();
    CHECK(whole);
    CHECK(ordered);
    CHECK(read + lost == kEvents);
  }
}

}  // namespace
