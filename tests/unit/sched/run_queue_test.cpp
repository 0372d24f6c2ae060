#include "runtime/sched/run_queue.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace {

using namespace smarm;

std::unique_ptr<Actor[]> make_actors(std::size_t n) {
  auto actors = std::make_unique<Actor[]>(n);
  for (std::size_t i = 0; i < n; ++i) actors[i].index = static_cast<std::uint32_t>(i);
  return actors;
}

TEST_SUITE("run queue") {
  TEST_CASE("first in, first out, far beyond the ring") {
    for (bool shared : {false, true}) {
      RunQueue queue(shared);
      auto actors = make_actors(2000);
      for (int i = 0; i < 2000; ++i) queue.push(&actors[i]);
      CHECK(queue.size() == 2000);
      for (std::uint32_t i = 0; i < 2000; ++i) {
        Actor* a = queue.pop();
        REQUIRE(a != nullptr);
        REQUIRE(a->index == i);
        if (i % 3 == 0 && i < 600) queue.push(a);  // to the tail, behind all others
      }
      for (std::uint32_t i = 0; i < 600; i += 3) CHECK(queue.pop()->index == i);
      CHECK(queue.pop() == nullptr);
      CHECK(queue.empty());
    }
  }

  TEST_CASE("to rotate is to push and pop, where another waits in the ring and none behind it") {
    RunQueue queue(false);
    auto actors = make_actors(300);
    CHECK_FALSE(queue.can_rotate());
    for (std::uint32_t i = 0; i < RunQueue::kSize; ++i) queue.push(&actors[i]);
    Actor* running = &actors[299];
    for (std::uint32_t i = 0; i < 600; ++i) {  // more than once around the full ring
      REQUIRE(queue.can_rotate());
      Actor* next = queue.rotate(running);
      REQUIRE(next->index == (i < 256 ? i : i % 257 == 256 ? 299 : i % 257));
      running = next;
    }
    CHECK(queue.size() == RunQueue::kSize);
    queue.push(&actors[298]);  // behind the ring
    CHECK_FALSE(queue.can_rotate());
  }

  TEST_CASE("steal takes the older half, and one only when asked for single ones") {
    RunQueue victim(true), thief(true);
    auto actors = make_actors(10);
    for (int i = 0; i < 10; ++i) victim.push(&actors[i]);
    std::uint32_t n = 0;
    Actor* first = thief.steal_from(victim, false, n);
    CHECK(n == 5);
    CHECK(first == &actors[0]);
    for (int i = 1; i < 5; ++i) CHECK(thief.pop() == &actors[i]);
    for (int i = 5; i < 10; ++i) CHECK(victim.pop() == &actors[i]);
    victim.push(&actors[0]);
    CHECK(thief.steal_from(victim, false, n) == nullptr);
    CHECK(thief.steal_from(victim, true, n) == &actors[0]);
    CHECK(thief.steal_from(victim, true, n) == nullptr);
  }

  TEST_CASE("positions merge a second queue exactly") {
    RunQueue queue(true);
    auto actors = make_actors(600);
    for (int i = 0; i < 300; ++i) queue.push(&actors[i]);
    const std::uint32_t behind = queue.end_position();
    for (int i = 300; i < 600; ++i) queue.push(&actors[i]);
    for (int i = 0; i < 300; ++i) {
      CHECK_FALSE(queue.reached(behind));
      queue.pop();
    }
    CHECK(queue.reached(behind));
    CHECK(queue.pop() == &actors[300]);
  }

  // Each actor is taken exactly once, whatever the owner and the thieves do.
  TEST_CASE("stress: owner and thieves take each actor once") {
    for (int thieves : {1, 3}) {
      constexpr std::size_t kActors = 200'000;
      RunQueue queue(true);
      FreshDeque fresh(true);
      auto actors = make_actors(kActors);
      std::unique_ptr<std::atomic<int>[]> taken(new std::atomic<int>[kActors]());
      std::atomic<std::size_t> total = 0;
      auto take = [&](Actor* a) {
        ++taken[a->index];
        ++total;
      };
      std::vector<std::thread> threads;
      for (int t = 0; t < thieves; ++t) {
        threads.emplace_back([&] {
          RunQueue mine(true);
          while (total < kActors) {
            std::uint32_t n = 0;
            if (Actor* a = mine.steal_from(queue, true, n)) take(a);
            while (Actor* a = mine.pop()) take(a);
            if (Actor* a = fresh.steal()) take(a);
          }
        });
      }
      for (std::size_t i = 0; i < kActors; ++i) {
        if (i % 2 == 0) {
          queue.push(&actors[i]);
        } else {
          while (!fresh.push(&actors[i])) {
            if (Actor* a = fresh.pop()) take(a);
          }
        }
        if (i % 5 == 0) {
          if (Actor* a = queue.pop()) take(a);
        }
        if (i % 7 == 0) {
          if (Actor* a = fresh.pop()) take(a);
        }
      }
      while (total < kActors) {
        if (Actor* a = queue.pop()) take(a);
        if (Actor* a = fresh.pop()) take(a);
      }
      for (auto& t : threads) t.join();
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < kActors; ++i) wrong += taken[i] != 1;
      CHECK(wrong == 0);
      CHECK(total == kActors);
    }
  }
}

TEST_SUITE("fresh deque") {
  TEST_CASE("the owner takes the newest, a thief the oldest, and full is told") {
    for (bool shared : {false, true}) {
      FreshDeque deque(shared);
      auto actors = make_actors(FreshDeque::kSize + 1);
      for (int i = 0; i < FreshDeque::kSize; ++i) CHECK(deque.push(&actors[i]));
      CHECK_FALSE(deque.push(&actors[FreshDeque::kSize]));
      CHECK(deque.pop() == &actors[FreshDeque::kSize - 1]);
      CHECK(deque.steal() == &actors[0]);
      CHECK(deque.size() == FreshDeque::kSize - 2);
      for (int i = FreshDeque::kSize - 2; i >= 1; --i) CHECK(deque.pop() == &actors[i]);
      CHECK(deque.pop() == nullptr);
      CHECK(deque.steal() == nullptr);
    }
  }
}

}  // namespace
