// park_current and unpark: one remembered token per actor, no lost and no false wake-ups.
#include "tests/unit/public/support.hpp"

using namespace test;

TEST_SUITE("public park") {
  TEST_CASE("unpark wakes a parked actor") {
    run_at_each_worker_count([] {
      auto sleeper = smarm::spawn([] { smarm::park_current(); });
      CHECK(yield_until_parked(sleeper.pid()));
      CHECK(smarm::unpark(sleeper.pid()));
      CHECK(sleeper.join());
    });
  }

  TEST_CASE("an unpark that comes before the park is remembered") {
    run_at_each_worker_count([] {
      CHECK(smarm::unpark(smarm::self_pid()));
      smarm::park_current();  // would be for ever
      auto [tx, rx] = smarm::channel<int>();
      auto late = smarm::spawn([rx = std::move(rx)]() mutable {
        (void)rx.recv();
        smarm::park_current();
      });
      CHECK(smarm::unpark(late.pid()));
      CHECK(tx.send(1));
      CHECK(late.join());
    });
  }

  TEST_CASE("two unparks before a park are one token") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<int>();
      std::atomic<int> wakes = 0;
      auto sleeper = smarm::spawn([rx = std::move(rx), &wakes]() mutable {
        (void)rx.recv();
        smarm::park_current();
        ++wakes;
        smarm::park_current();
        ++wakes;
      });
      CHECK(smarm::unpark(sleeper.pid()));
      CHECK(smarm::unpark(sleeper.pid()));
      CHECK(tx.send(1));
      CHECK(yield_until([&] { return wakes == 1 && parked(sleeper.pid()); }));
      CHECK(wakes == 1);
      CHECK(smarm::unpark(sleeper.pid()));
      CHECK(sleeper.join());
      CHECK(wakes == 2);
    });
  }

  TEST_CASE("a token does not end a wait for something else, and is kept meanwhile") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<int>();
      std::atomic<int> got = 0;
      auto actor = smarm::spawn([rx = std::move(rx), &got]() mutable {
        got = rx.recv().value_or(-1);
        const auto start = SteadyClock::now();
        smarm::sleep(20ms);
        CHECK(SteadyClock::now() - start >= 20ms);
        smarm::park_current();  // the token is still there
      });
      CHECK(yield_until_parked(actor.pid()));
      CHECK(smarm::unpark(actor.pid()));
      for (int i = 0; i < 100; ++i) smarm::yield_now();
      CHECK(got == 0);
      CHECK(tx.send(5));
      CHECK(actor.join());
      CHECK(got == 5);
    });
  }

  TEST_CASE("unpark is legal from a foreign thread") {
    run_at_each_worker_count([] {
      constexpr int kRounds = kSlow ? 200 : 2000;
      std::atomic<int> asked = 0, served = 0;
      auto sleeper = smarm::spawn([&] {
        for (int i = 0; i < kRounds; ++i) {
          smarm::park_current();
          served = i + 1;
        }
      });
      std::thread waker([&, pid = sleeper.pid()] {
        for (int i = 0; i < kRounds; ++i) {
          asked = i + 1;
          smarm::unpark(pid);
          while (served != i + 1) std::this_thread::yield();
        }
      });
      smarm::block_on_io([&] { waker.join(); });
      CHECK(sleeper.join());
      CHECK(served == kRounds);
    });
  }

  TEST_CASE("two actors that hand a token to and fro never lose it") {
    run_at_each_worker_count([] {
      constexpr int kRounds = kSlow ? 1000 : 20000;
      const smarm::Pid self = smarm::self_pid();
      auto peer = smarm::spawn([self] {
        for (int i = 0; i < kRounds; ++i) {
          smarm::park_current();
          smarm::unpark(self);
        }
      });
      for (int i = 0; i < kRounds; ++i) {
        smarm::unpark(peer.pid());
        smarm::park_current();
      }
      CHECK(peer.join());
    });
  }
}
