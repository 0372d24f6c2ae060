// sleep and timers.
#include "tests/unit/public/support.hpp"

#include <algorithm>

using namespace test;

TEST_SUITE("public timer") {
  TEST_CASE("sleep waits at least its time; zero and negative times return") {
    run_at_each_worker_count([] {
      for (auto d : {1ms, 5ms, 40ms}) {
        const auto start = SteadyClock::now();
        smarm::sleep(d);
        const auto took = SteadyClock::now() - start;
        CHECK(took >= d);
        CHECK(took < kPatience);
      }
      smarm::sleep(0ms);
      smarm::sleep(-1h);
      smarm::sleep(100us);
      smarm::sleep(std::chrono::duration<double>(0.001));
    });
  }

  TEST_CASE("sleepers wake in the order of their deadlines") {
    // One worker, whose timers fire one after the other: no pause of the machine changes their
    // order.
    run_at(1, [] {
      std::vector<int> order;
      std::vector<smarm::JoinHandle> sleepers;
      for (int ms : {50, 10, 90, 30, 70})
        sleepers.push_back(smarm::spawn([ms, &order] {
          smarm::sleep(std::chrono::milliseconds(ms));
          order.push_back(ms);
        }));
      for (auto& end : smarm::join_all(sleepers)) CHECK(end);
      CHECK(order == std::vector<int>{10, 30, 50, 70, 90});
    });
  }

  TEST_CASE("sleeps overlap: a thousand actors take no longer than the longest of them") {
    run_at_each_worker_count([] {
      const auto start = SteadyClock::now();
      std::vector<smarm::JoinHandle> sleepers;
      for (int i = 0; i < 1000; ++i) sleepers.push_back(smarm::spawn([] { smarm::sleep(50ms); }));
      for (auto& end : smarm::join_all(sleepers)) CHECK(end);
      const auto took = SteadyClock::now() - start;
      CHECK(took >= 50ms);
      CHECK(took < 20s);  // one after the other they would take 50 s
    });
  }

  TEST_CASE("a sleeping actor leaves its worker to the others") {
    run_at(1, [] {
      std::atomic<bool> others_ran = false;
      auto sleeper = smarm::spawn([&others_ran] {
        smarm::sleep(30ms);
        CHECK(others_ran);
      });
      CHECK(yield_until_parked(sleeper.pid()));
      others_ran = true;
      CHECK(sleeper.join());
    });
  }

  TEST_CASE("unpark_after wakes its actor") {
    run_at_each_worker_count([] {
      const auto start = SteadyClock::now();
      auto timer = smarm::unpark_after(20ms, smarm::self_pid());
      smarm::park_current();
      CHECK(SteadyClock::now() - start >= 20ms);
      CHECK_FALSE(timer.cancel());
    });
  }

  TEST_CASE("a cancelled timer does not fire and does not keep run from ending") {
    const auto start = SteadyClock::now();
    run_at_each_worker_count([] {
      auto timer = smarm::unpark_after(1h, smarm::self_pid());
      CHECK(timer.cancel());
      CHECK_FALSE(timer.cancel());
      // Had it left a token, park_current would return before the second timer.
      auto soon = smarm::unpark_after(5ms, smarm::self_pid());
      CHECK(soon.cancel());
      const auto parked_at = SteadyClock::now();
      auto real = smarm::unpark_after(30ms, smarm::self_pid());
      smarm::park_current();
      CHECK(SteadyClock::now() - parked_at >= 30ms);
      CHECK_FALSE(real.cancel());
    });
    CHECK(SteadyClock::now() - start < kPatience);
  }

  TEST_CASE("a dropped handle lets the timer fire, a moved one keeps it") {
    run_at_each_worker_count([] {
      (void)smarm::unpark_after(5ms, smarm::self_pid());
      smarm::park_current();

      smarm::Timer a = smarm::unpark_after(1h, smarm::self_pid());
      smarm::Timer b = std::move(a);
      CHECK_FALSE(a.cancel());
      CHECK(b.cancel());
      smarm::Timer empty;
      CHECK_FALSE(empty.cancel());
    });
  }

  TEST_CASE("a timer for an actor that has ended is harmless") {
    run_at_each_worker_count([] {
      auto gone = smarm::spawn([] {});
      auto timer = smarm::unpark_after(10ms, gone.pid());
      CHECK(gone.join());
      smarm::sleep(20ms);
      CHECK_FALSE(timer.cancel());
    });
  }

  TEST_CASE("a timer may be cancelled by another actor, and run waits for one that is pending") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<smarm::Timer>();
      auto canceller = smarm::spawn([rx = std::move(rx)]() mutable {
        while (auto timer = rx.recv()) CHECK(timer->cancel());
      });
      for (int i = 0; i < 100; ++i) CHECK(tx.send(smarm::unpark_after(1h, smarm::self_pid())));
      tx = {};
      CHECK(canceller.join());
    });
    for_each_worker_count([](unsigned workers) {
      std::atomic<bool> done = false;
      run_at(workers, [&done] {
        (void)smarm::spawn([&done] {
          smarm::sleep(20ms);
          done = true;
        });
      });
      CHECK(done);
    });
  }

  TEST_CASE(
      "ten thousand timers, half of them cancelled: each one fires or is cancelled, never both") {
    run_at_each_worker_count([] {
      constexpr int kTimers = kSlow ? 1000 : 10000;
      std::atomic<int> fired = 0;
      std::vector<smarm::Timer> timers;
      for (int i = 0; i < kTimers; ++i) {
        smarm_timer* raw =
            smarm_timer_start((1 + i % 97) * 1'000'000,
                              [](void* p) { ++*static_cast<std::atomic<int>*>(p); }, &fired);
        REQUIRE(raw != nullptr);
        timers.emplace_back(raw);
      }
      int cancelled = 0;
      for (int i = 0; i < kTimers; i += 2)
        cancelled += timers[static_cast<std::size_t>(i)].cancel();
      CHECK(yield_until([&] { return fired + cancelled >= kTimers; }));
      for (auto& timer : timers) CHECK_FALSE(timer.cancel());
      CHECK(fired + cancelled == kTimers);
      CHECK(fired >= kTimers / 2);
    });
  }

  TEST_CASE("the longest duration is for ever, and kill ends it") {
    run_at_each_worker_count([] {
      auto sleeper = smarm::spawn([] { smarm::sleep(std::chrono::hours::max()); });
      auto longer = smarm::spawn([] { smarm::sleep(std::chrono::nanoseconds::max()); });
      CHECK(yield_until_parked(sleeper.pid()));
      CHECK(yield_until_parked(longer.pid()));
      CHECK(smarm::kill(sleeper.pid()));
      CHECK(smarm::kill(longer.pid()));
      CHECK(sleeper.join().error().killed());
      CHECK(longer.join().error().killed());
    });
  }

  TEST_CASE("a handle that has outlived its runtime may be cancelled by an actor of another") {
    for_each_worker_count([](unsigned workers) {
      std::vector<smarm::Timer> kept;
      run_at(workers, [&kept] {
        kept.push_back(smarm::unpark_after(1ms, smarm::self_pid()));
        kept.push_back(smarm::unpark_after(0ms, smarm::self_pid()));
        smarm::park_current();
      });
      run_at(workers, [&kept] {
        for (smarm::Timer& timer : kept) CHECK_FALSE(timer.cancel());
      });
    });
  }
}
