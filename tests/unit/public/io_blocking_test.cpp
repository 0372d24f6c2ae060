// block_on_io: plain blocking code off the workers.
#include "tests/unit/public/support.hpp"

#include <future>
#include <latch>
#include <stdexcept>
#include <string>

using namespace test;

TEST_SUITE("public block_on_io") {
  TEST_CASE("it returns what the job returns") {
    run_at_each_worker_count([] {
      CHECK(smarm::block_on_io([] { return 42; }) == 42);
      CHECK(smarm::block_on_io([] { return std::string("text"); }) == "text");
      auto p = smarm::block_on_io([] { return std::make_unique<int>(7); });
      CHECK(*p == 7);
      int n = 0;
      smarm::block_on_io([&n] { n = 5; });
      CHECK(n == 5);
    });
  }

  TEST_CASE("it rethrows what the job throws, in the actor that asked") {
    run_at_each_worker_count([] {
      CHECK_THROWS_WITH_AS(smarm::block_on_io([]() -> int { throw std::out_of_range("job"); }),
                           "job", std::out_of_range);
      CHECK_THROWS_AS(smarm::block_on_io([] { throw 3; }), int);
    });
  }

  TEST_CASE("the job is not on a worker, and no actor there") {
    run_at_each_worker_count([] {
      const pid_t mine = ::gettid();
      smarm::block_on_io([mine] {
        CHECK(::gettid() != mine);
        CHECK_THROWS_AS(static_cast<void>(smarm::self_pid()), std::logic_error);
      });
    });
  }

  TEST_CASE("the worker goes on: a job waits for an actor of the same worker") {
    run_at(1, [] {
      std::promise<int> promise;
      auto peer = smarm::spawn([&promise] { promise.set_value(9); });
      CHECK(smarm::block_on_io(
                [future = promise.get_future()]() mutable { return future.get(); }) == 9);
      CHECK(peer.join());
    });
  }

  TEST_CASE("jobs run at once: eight of them wait for one another") {
    run_at_each_worker_count([] {
      std::latch all(8);
      std::vector<smarm::JoinHandle> actors;
      for (int i = 0; i < 8; ++i)
        actors.push_back(
            smarm::spawn([&all] { smarm::block_on_io([&all] { all.arrive_and_wait(); }); }));
      for (auto& end : smarm::join_all(actors)) CHECK(end);
    });
  }

  TEST_CASE("no more of them than the config says, and the others queue") {
    for_each_worker_count([](unsigned workers) {
      run_with(config_at(workers).blocking_threads(2), [] {
        std::atomic<int> running = 0, most = 0, done = 0;
        std::vector<smarm::JoinHandle> actors;
        for (int i = 0; i < 20; ++i)
          actors.push_back(smarm::spawn([&] {
            smarm::block_on_io([&] {
              const int now = ++running;
              for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
              }
              std::this_thread::sleep_for(1ms);  // long enough that a third one would show
              --running;
              ++done;
            });
          }));
        for (auto& end : smarm::join_all(actors)) CHECK(end);
        CHECK(done == 20);
        CHECK(most <= 2);
        CHECK(most >= 1);
      });
    });
  }

  TEST_CASE("a job may send and unpark") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<int>();
      auto asker = smarm::spawn([tx = std::move(tx)]() mutable {
        smarm::block_on_io([&tx] {
          for (int i = 0; i < 100; ++i) (void)tx.send(i);
        });
      });
      int sum = 0;
      while (auto v = rx.recv()) sum += *v;
      CHECK(sum == 4950);
      CHECK(asker.join());
    });
  }

  TEST_CASE("outside an actor it throws std::logic_error") {
    CHECK_THROWS_AS(smarm::block_on_io([] {}), std::logic_error);
  }

  TEST_CASE("a late wake-up of a channel does not end the wait for a job") {
    // The sender's message is found by the second look of a select, just before it would wait; what
    // the sender then does to wake the actor comes when a job works for it. Many channels make the
    // time between registering and the second look long; the pause before the send follows it.
    for (unsigned workers : {1u, 2u}) {
      CAPTURE(workers);
      run_at(workers, [] {
        constexpr int kChannels = 512, kRounds = 400;
        std::vector<std::pair<smarm::Sender<int>, smarm::Receiver<int>>> channels;
        std::vector<smarm_channel*> raw;
        for (int i = 0; i < kChannels; ++i) {
          channels.push_back(smarm::channel<int>());
          raw.push_back(channels.back().second.raw());
        }
        std::atomic<int> wanted = 0, at_it = 0, pause = 100;
        smarm_runtime_hold(smarm_runtime_current());  // what the foreign thread will send counts
        std::thread foreign([&, tx = channels[0].first] {
          for (int n = 1; n <= kRounds; ++n) {
            while (wanted < n) std::this_thread::yield();
            at_it = n;
            for (int i = pause; i > 0; --i) escape(&i);
            (void)tx.send(n);
          }
        });
        int early = 0;
        for (int round = 1; round <= kRounds; ++round) {
          const std::uint64_t parks = smarm::stats().total.parks;
          wanted = round;
          while (at_it < round) {  // both run from here on
          }
          const int ready = smarm_channel_select(raw.data(), raw.size(), SMARM_FOREVER);
          if (ready == 0) (void)channels[0].second.try_recv();
          const bool waited = smarm::stats().total.parks != parks;
          pause = waited ? pause * 3 / 4 : std::min(pause + pause / 4 + 20, 100'000);
          // On the heap, and the callable outlives its call: a job that is late does no harm.
          auto done = std::make_shared<std::atomic<bool>>(false);
          auto job = [done] {
            std::this_thread::sleep_for(200us);  // long enough for a late wake-up to come in
            *done = true;
          };
          smarm::block_on_io(job);
          if (!*done) ++early;
        }
        foreign.join();
        smarm_runtime_release(smarm_runtime_current());
        CHECK(early == 0);
      });
    }
  }
}
