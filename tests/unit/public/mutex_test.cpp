// Mutex<T>: exclusion, time limits, order, guards.
#include "tests/unit/public/support.hpp"

#include <string>

using namespace test;

TEST_SUITE("public mutex") {
  TEST_CASE("the guard reaches the value and unlocks when it dies") {
    run_at_each_worker_count([] {
      smarm::Mutex<std::string> mutex("abc");
      {
        auto guard = mutex.lock();
        REQUIRE(guard.has_value());
        CHECK(**guard == "abc");
        (*guard)->push_back('d');
        CHECK_FALSE(mutex.try_lock().has_value());
      }
      auto again = mutex.try_lock();
      REQUIRE(again.has_value());
      CHECK(**again == "abcd");
      again->unlock();
      CHECK(mutex.lock_timeout(1s).has_value());
    });
  }

  TEST_CASE("a guard may be moved, and an assigned one unlocks what it held") {
    run_at_each_worker_count([] {
      smarm::Mutex<int> a(1), b(2);
      auto guard_a = std::move(*a.lock());
      auto moved = std::move(guard_a);
      CHECK(*moved == 1);
      CHECK_FALSE(a.try_lock().has_value());
      moved = std::move(*b.lock());
      CHECK(*moved == 2);
      CHECK(a.try_lock().has_value());
      CHECK_FALSE(b.try_lock().has_value());
    });
  }

  TEST_CASE("eight actors count without losing one, parking while they hold the lock") {
    run_at_each_worker_count([] {
      constexpr int kActors = 8, kEach = kSlow ? 200 : 1000;
      smarm::Mutex<long> mutex(0);
      std::vector<smarm::JoinHandle> actors;
      for (int a = 0; a < kActors; ++a)
        actors.push_back(smarm::spawn([&mutex] {
          for (int i = 0; i < kEach; ++i) {
            auto guard = mutex.lock();
            REQUIRE(guard.has_value());
            const long before = **guard;
            if (i % 10 == 0) smarm::yield_now();
            **guard = before + 1;
          }
        }));
      for (auto& end : smarm::join_all(actors)) CHECK(end);
      CHECK(**mutex.lock() == kActors * kEach);
    });
  }

  TEST_CASE("a lock that is not had in time is an error, and the wait leaves the queue") {
    run_at_each_worker_count([] {
      smarm::Mutex<int> mutex(0);
      auto holder = mutex.lock();
      auto waiter = smarm::spawn([&mutex] {
        const auto start = SteadyClock::now();
        auto guard = mutex.lock_timeout(30ms);
        CHECK_FALSE(guard.has_value());
        CHECK(SteadyClock::now() - start >= 30ms);
        CHECK(std::string(guard.error().what()).find("not acquired") != std::string::npos);
        CHECK_FALSE(mutex.lock_timeout(0ms).has_value());
      });
      CHECK(waiter.join());
      auto next = smarm::spawn([&mutex] { CHECK(mutex.lock().has_value()); });
      CHECK(yield_until_parked(next.pid()));
      holder->unlock();
      CHECK(next.join());
      CHECK(mutex.try_lock().has_value());
    });
  }

  TEST_CASE("waiters are served in the order they came") {
    run_at_each_worker_count([] {
      smarm::Mutex<std::string> mutex;
      auto holder = mutex.lock();
      std::vector<smarm::JoinHandle> waiters;
      for (char name = 'a'; name < 'h'; ++name) {
        waiters.push_back(smarm::spawn([&mutex, name] {
          auto guard = mutex.lock();
          REQUIRE(guard.has_value());
          (*guard)->push_back(name);
        }));
        CHECK(yield_until_parked(waiters.back().pid()));
      }
      holder->unlock();
      for (auto& end : smarm::join_all(waiters)) CHECK(end);
      CHECK(**mutex.lock() == "abcdefg");
    });
  }

  TEST_CASE("an actor that locks in a loop does not starve a waiter") {
    run_at_each_worker_count([] {
      smarm::Mutex<int> mutex(0);
      std::atomic<bool> served = false;
      auto greedy = smarm::spawn([&] {
        const auto deadline = SteadyClock::now() + kPatience;
        while (!served && SteadyClock::now() < deadline) {
          auto guard = mutex.lock();
          REQUIRE(guard.has_value());
          for (int i = 0; i < 100; ++i) allocate();
          smarm::yield_now();  // holds it across a switch, so that the other one sees it taken
        }
      });
      auto waiter = smarm::spawn([&] {
        for (int i = 0; i < 20; ++i) CHECK(mutex.lock().has_value());
        served = true;
      });
      CHECK(waiter.join());
      CHECK(served);
      CHECK(greedy.join());
    });
  }

  TEST_CASE("a waiter that is woken and then killed passes its turn on") {
    run_at_each_worker_count([] {
      for (int round = 0; round < 20; ++round) {
        smarm::Mutex<int> mutex(0);
        auto holder = mutex.lock();
        auto first = smarm::spawn([&mutex] { (void)mutex.lock(); });
        CHECK(yield_until_parked(first.pid()));
        auto second = smarm::spawn([&mutex] { CHECK(mutex.lock_timeout(kPatience).has_value()); });
        CHECK(yield_until_parked(second.pid()));
        holder->unlock();  // the turn is first's, which on one worker does not run before the kill
        smarm::kill(first.pid());
        (void)first.join();
        CHECK(second.join());
      }
    });
  }

  TEST_CASE("a guard is released by an exception") {
    run_at_each_worker_count([] {
      smarm::Mutex<int> mutex(0);
      auto thrower = smarm::spawn([&mutex] {
        auto guard = mutex.lock();
        **guard = 1;
        throw 1;
      });
      CHECK_FALSE(thrower.join().has_value());
      auto guard = mutex.try_lock();
      REQUIRE(guard.has_value());
      CHECK(**guard == 1);
    });
  }

  TEST_CASE("two locks in opposite order end in a timeout, not in silence") {
    run_at_each_worker_count([] {
      smarm::Mutex<int> a(0), b(0);
      std::atomic<int> holding = 0, timeouts = 0;
      auto cross = [&](smarm::Mutex<int>& first, smarm::Mutex<int>& second) {
        return smarm::spawn([&] {
          auto outer = first.lock();
          ++holding;
          CHECK(yield_until([&] { return holding == 2; }));
          if (!second.lock_timeout(50ms)) ++timeouts;
        });
      };
      auto one = cross(a, b), two = cross(b, a);
      CHECK(one.join());
      CHECK(two.join());
      CHECK(timeouts >= 1);
    });
  }

  TEST_CASE("outside an actor try_lock works and lock throws std::logic_error") {
    smarm::Mutex<int> mutex(3);
    {
      auto guard = mutex.try_lock();
      REQUIRE(guard.has_value());
      CHECK(**guard == 3);
    }
    CHECK_THROWS_AS(static_cast<void>(mutex.lock()), std::logic_error);
  }
}
