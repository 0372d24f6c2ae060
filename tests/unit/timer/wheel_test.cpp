#include "runtime/timer/wheel.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <vector>

namespace {

using namespace smarm;

constexpr std::uint64_t kTick = std::uint64_t{1} << Wheel::kTickShift;

std::vector<TimerNode*> due(Wheel& wheel, std::uint64_t now) {
  std::vector<TimerNode*> all;
  wheel.advance(now);
  while (TimerNode* t = wheel.pop_due()) all.push_back(t);
  return all;
}

TEST_SUITE("timer wheel") {
  TEST_CASE("a timer fires at its time, not before, once") {
    Wheel wheel(1'000'000'000);
    TimerNode t;
    wheel.arm(t, 1'000'000'000 + 5'000'000);
    CHECK(t.armed);
    CHECK(wheel.size() == 1);
    CHECK(due(wheel, 1'000'000'000 + 4'900'000).empty());
    CHECK(due(wheel, 1'000'000'000 + 5'000'000 + kTick) == std::vector<TimerNode*>{&t});
    CHECK_FALSE(t.armed);
    CHECK(due(wheel, 9'000'000'000).empty());
    CHECK(wheel.next_ns() == kNever);
  }

  TEST_CASE("a deadline in the past is due at once") {
    Wheel wheel(1'000'000'000);
    TimerNode t;
    wheel.arm(t, 5);
    CHECK(wheel.next_ns() <= 1'000'000'000);
    CHECK(due(wheel, 1'000'000'000).size() == 1);
  }

  TEST_CASE("cancel unlinks wherever the timer is, also when it is due already") {
    Wheel wheel(0);
    TimerNode near, far, due_now;
    wheel.arm(near, 10 * kTick);
    wheel.arm(far, 3'600'000'000'000);
    wheel.arm(due_now, 0);
    wheel.advance(0);
    CHECK(wheel.cancel(due_now));
    CHECK(wheel.pop_due() == nullptr);
    CHECK(wheel.cancel(near));
    CHECK(wheel.cancel(far));
    CHECK_FALSE(wheel.cancel(far));
    CHECK(wheel.empty());
    CHECK(wheel.next_ns() == kNever);
  }

  TEST_CASE("the next look is never later than the earliest deadline allows") {
    Wheel wheel(0);
    TimerNode t;
    wheel.arm(t, 7'777'777'777);
    std::uint64_t now = 0;
    int looks = 0;
    for (; t.armed; ++looks) {
      REQUIRE(looks < 20);
      const std::uint64_t next = wheel.next_ns();
      REQUIRE(next >= now);
      now = next;
      due(wheel, now);
    }
    CHECK(now >= 7'777'777'777);
    CHECK(now <= 7'777'777'777 + kTick);
  }

  TEST_CASE("against a sorted map: random arms, cancels and steps of all sizes") {
    std::mt19937_64 random(12345);
    const std::uint64_t start = 123'456'789'012'345;
    Wheel wheel(start);
    std::vector<TimerNode> timers(500);
    std::multimap<std::uint64_t, TimerNode*> model;
    std::uint64_t now = start;
    int fired = 0;
    for (int step = 0; step < 20'000; ++step) {
      TimerNode& t = timers[random() % timers.size()];
      if (!t.armed) {
        const std::uint64_t after = random() % (std::uint64_t{1} << (random() % 50));
        wheel.arm(t, now + after);
        model.emplace(now + after, &t);
      } else if (random() % 4 == 0) {
        CHECK(wheel.cancel(t));
        for (auto i = model.begin(); i != model.end(); ++i) {
          if (i->second == &t) {
            model.erase(i);
            break;
          }
        }
      }
      now += random() % (std::uint64_t{1} << (random() % 40));
      for (TimerNode* d : due(wheel, now)) {
        CHECK(d->deadline_ns <= now);
        bool known = false;
        auto [from, to] = model.equal_range(d->deadline_ns);
        for (auto i = from; i != to && !known; ++i) {
          if (i->second != d) continue;
          model.erase(i);
          known = true;
          break;
        }
        CHECK(known);
        ++fired;
      }
      // Whatever is left is due within a tick from now at the earliest.
      if (!model.empty()) CHECK(model.begin()->first + kTick > now);
      REQUIRE(wheel.size() == model.size());
    }
    CHECK(fired > 1000);
  }
}

}  // namespace
