// block_on_io: who gets the threads, how many there are, and what is shown of them.
#include "tests/unit/public/account_support.hpp"

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

using namespace test;

namespace {

// Holds jobs, and with them threads of the pool.
class Gate {
 public:
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return permits_ > 0; });
    --permits_;
  }
  void let_pass(int jobs) {
    const std::lock_guard lock(mutex_);
    permits_ += jobs;
    changed_.notify_all();
  }
  void open() { let_pass(1000); }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int permits_ = 0;
};

smarm_blocking_stats pool() { return smarm::stats().blocking; }

std::vector<smarm_blocking_owner> owners(smarm_runtime* runtime = nullptr) {
  std::vector<smarm_blocking_owner> all(smarm_runtime_blocking_owners(runtime, nullptr, 0));
  all.resize(std::min(all.size(), smarm_runtime_blocking_owners(runtime, all.data(), all.size())));
  return all;
}
smarm_blocking_owner owner(std::uint64_t account, smarm_runtime* runtime = nullptr) {
  for (const smarm_blocking_owner& o : owners(runtime)) {
    if (o.account == account) return o;
  }
  return {};
}

bool yield_until_queued(std::uint32_t jobs) {
  return yield_until([jobs] { return pool().queued == jobs; });
}
bool yield_until_running(std::uint32_t jobs) {
  return yield_until([jobs] { return pool().running == jobs; });
}

smarm::Config limited(unsigned workers, unsigned threads) {
  return config_at(workers).blocking_threads(threads);
}

}  // namespace

TEST_SUITE("public block_on_io fair") {
  TEST_CASE("accounts take turns, one job each, and those of one keep their order") {
    for_each_worker_count([](unsigned workers) {
      const Account seven(7, {70, 71}), eight(8, {80});
      std::string order;  // written on the one thread
      run_with(limited(workers, 1), [&order] {
        Gate gate;
        std::vector<smarm::JoinHandle> actors;
        actors.push_back(smarm::spawn([&] { smarm::block_on_io([&] { gate.wait(); }); }));
        CHECK(yield_until_running(1));
        std::uint32_t queued = 0;
        const auto queue = [&](std::uint64_t group, char name) {
          actors.push_back(
              spawn_in(group, [&order, name] { smarm::block_on_io([&] { order += name; }); }));
          CHECK(yield_until_queued(++queued));
        };
        for (int i = 0; i < 50; ++i) queue(i % 2 ? 71 : 70, static_cast<char>('A' + i % 26));
        for (const char name : {'x', 'y', 'z'}) queue(80, name);
        queue(0, '-');
        CHECK(owner(7).queued == 50);
        CHECK(owner(8).queued == 3);
        CHECK(owner(0).queued == 1);
        CHECK(owner(0).running == 1);
        gate.open();
        for (auto& end : smarm::join_all(actors)) CHECK(end);
        CHECK(owner(7).done_total == 50);
      });
      CHECK(order == "Ax-ByCzDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWX");
    });
  }

  TEST_CASE("of two threads an account holds one, and another's job runs at once") {
    for_each_worker_count([](unsigned workers) {
      const Account seven(7, {70}), eight(8, {80});
      run_with(limited(workers, 2), [] {
        Gate gate;
        const auto hold = [&gate] { smarm::block_on_io([&gate] { gate.wait(); }); };
        auto first = spawn_in(70, hold);
        CHECK(yield_until_running(1));
        auto second = spawn_in(70, hold);
        CHECK(yield_until_queued(1));
        CHECK(pool().threads == 1);  // none is made for a job that may not start
        std::atomic<bool> done = false;
        auto other = spawn_in(80, [&done] { smarm::block_on_io([&done] { done = true; }); });
        CHECK(yield_until([&done] { return done.load(); }));
        CHECK(owner(7).running == 1);
        CHECK(owner(7).queued == 1);
        gate.open();
        smarm::join_all(first, second, other);
        CHECK(owner(7).done_total == 2);
        CHECK(owner(8).done_total == 1);
        CHECK(pool().threads == 2);
      });
    });
  }

  TEST_CASE("an eighth of the threads is for accounts that have no job running") {
    for_each_worker_count([](unsigned workers) {
      const Account seven(7, {70}), eight(8, {80}), nine(9, {90}), ten(10, {100});
      run_with(limited(workers, 16), [] {
        Gate of_seven, of_others;
        std::vector<smarm::JoinHandle> actors;
        const auto queue = [&](std::uint64_t group, int jobs) {
          Gate& gate = group == 70 ? of_seven : of_others;
          for (int i = 0; i < jobs; ++i)
            actors.push_back(spawn_in(group, [&] { smarm::block_on_io([&] { gate.wait(); }); }));
        };
        const auto reaches = [](std::uint64_t account, std::uint32_t running,
                                std::uint32_t queued) {
          return yield_until([=] {
            const smarm_blocking_owner o = owner(account);
            return o.running == running && o.queued == queued;
          });
        };
        queue(70, 20);
        CHECK(reaches(7, 14, 6));
        queue(80, 20);
        CHECK(reaches(8, 1, 19));
        queue(90, 1);
        CHECK(reaches(9, 1, 0));
        CHECK(pool().threads == 16);
        CHECK(pool().idle == 0);
        queue(100, 1);
        CHECK(reaches(10, 0, 1));  // all are taken, by three owners
        CHECK(owner(7).running == 14);
        of_seven.let_pass(1);  // one job ends: the next one is of who has none running
        CHECK(reaches(10, 1, 0));
        CHECK(reaches(7, 13, 6));
        CHECK(pool().running == 16);
        of_others.let_pass(1);  // whosever: 15 run, so again it is somebody who has none running
        CHECK(yield_until([] { return pool().done_total == 2; }));
        CHECK(owner(7).running == 13);
        of_seven.open();
        of_others.open();
        for (auto& end : smarm::join_all(actors)) CHECK(end);
        CHECK(pool().done_total == 42);
        CHECK(pool().threads == 16);
      });
    });
  }

  TEST_CASE("who has no account is not limited") {
    for_each_worker_count([](unsigned workers) {
      const Account seven(7, {70});
      run_with(limited(workers, 2), [] {
        Gate gate;
        const auto hold = [&gate] { smarm::block_on_io([&gate] { gate.wait(); }); };
        auto a = smarm::spawn(hold), b = smarm::spawn(hold);
        CHECK(yield_until_running(2));
        auto c = spawn_in(70, hold), d = smarm::spawn(hold);
        CHECK(yield_until_queued(2));
        gate.open();
        smarm::join_all(a, b, c, d);
        CHECK(owner(0).done_total == 3);
      });
    });
  }

  TEST_CASE("a thread is made for a job that would wait, and ends when it has idled") {
    for_each_worker_count([](unsigned workers) {
      smarm::Runtime runtime = smarm::init(limited(workers, 8));
      const auto five_at_once = [] {
        Gate gate;
        std::vector<smarm::JoinHandle> actors;
        for (int i = 0; i < 5; ++i)
          actors.push_back(smarm::spawn([&] { smarm::block_on_io([&] { gate.wait(); }); }));
        CHECK(yield_until_running(5));
        CHECK(pool().threads == 5);
        CHECK(pool().idle == 0);
        gate.open();
        for (auto& end : smarm::join_all(actors)) CHECK(end);
        CHECK(pool().idle == 5);
      };
      for (int life = 0; life < 2; ++life) {
        CHECK(runtime.stats().blocking.threads == 0);
        runtime.run([&five_at_once] {
          for (int i = 0; i < 20; ++i) {
            smarm::block_on_io([] {});
            CHECK(pool().threads == 1);
          }
          five_at_once();
          five_at_once();
          CHECK(pool().threads == 5);
        });
        const auto deadline = SteadyClock::now() + kPatience;
        while (runtime.stats().blocking.threads > 0 && SteadyClock::now() < deadline)
          std::this_thread::sleep_for(10ms);  // they idle for two seconds
      }
      CHECK(runtime.stats().blocking.threads == 0);
      CHECK(runtime.stats().blocking.limit == 8);
      CHECK(runtime.stats().blocking.done_total == 60);
    });
  }

  TEST_CASE("a job counts as done before its actor goes on, one that throws too") {
    for_each_worker_count([](unsigned workers) {
      const Account seven(7, {70});
      run_with(limited(workers, 4), [] {
        auto actor = spawn_in(70, [] {
          for (std::uint64_t i = 1; i <= 100; ++i) {
            if (i % 2) {
              smarm::block_on_io([] {
                CHECK(smarm_runtime_blocking_owners(nullptr, nullptr, 0) == 0);  // no actor here
              });
            } else {
              CHECK_THROWS_AS(smarm::block_on_io([] { throw std::runtime_error("job"); }),
                              std::runtime_error);
            }
            const smarm_blocking_owner o = owner(7);
            CHECK(o.done_total == i);
            CHECK(o.running == 0);
            CHECK(o.queued == 0);
            CHECK(pool().done_total == i);
          }
        });
        CHECK(actor.join());
        CHECK(owner(0).done_total == 0);
        smarm::block_on_io([] {});
        CHECK(owner(0).done_total == 1);
        CHECK(pool().done_total == 101);
      });
    });
  }

  TEST_CASE("what a closed account has left is used again; an open one keeps its counts") {
    const Account seven(7, {70});
    run_with(limited(1, 2), [] {
      const auto job = [] { smarm::block_on_io([] {}); };
      CHECK(spawn_in(70, job).join());
      for (std::uint64_t n = 1000; n < 1100; ++n) {
        const Account short_lived(n, {n});
        CHECK(spawn_in(n, job).join());
        CHECK(owner(n).done_total == 1);
      }
      CHECK(owners().size() == 2);
      CHECK(owner(7).done_total == 1);
    });
  }

  TEST_CASE("a caller with less room gets what fits") {
    smarm_blocking_stats s{};
    s.struct_size = sizeof s;
    s.limit = 9;
    smarm_runtime_blocking(nullptr, &s);  // no runtime
    CHECK(s.limit == 0);
    const Account seven(7, {70}), eight(8, {80});
    smarm::Runtime runtime = smarm::init(limited(1, 2));
    runtime.run([] {
      for (const std::uint64_t group : {70, 80})
        CHECK(spawn_in(group, [] { smarm::block_on_io([] {}); }).join());
    });
    s.struct_size = offsetof(smarm_blocking_stats, done_total);
    s.done_total = 12345;
    smarm_runtime_blocking(runtime.raw(), &s);
    CHECK(s.limit == 2);
    CHECK(s.done_total == 12345);
    smarm_blocking_owner two[2]{};
    CHECK(smarm_runtime_blocking_owners(runtime.raw(), two, 1) == 2);
    CHECK(two[0].done_total == 1);
    CHECK(two[1].done_total == 0);
  }

  TEST_CASE("run() ends when its jobs have: the queued ones too") {
    for_each_worker_count([](unsigned workers) {
      const Account seven(7, {70});
      Gate gate;
      std::atomic<bool> root_ended = false;
      std::atomic<int> done = 0;
      std::thread opener([&] {
        root_ended.wait(false);
        std::this_thread::sleep_for(5ms);  // for an early end of run() to show
        gate.open();
      });
      smarm::Runtime runtime = smarm::init(limited(workers, 2));
      runtime.run([&] {
        for (int i = 0; i < 6; ++i)
          (void)spawn_in(70, [&] {
            smarm::block_on_io([&] {
              gate.wait();
              ++done;
            });
          });
        CHECK(yield_until_running(1));
        CHECK(yield_until_queued(5));
        root_ended = true;
        root_ended.notify_all();
      });
      CHECK(done == 6);
      const smarm_blocking_stats s = runtime.stats().blocking;
      CHECK(s.done_total == 6);
      CHECK(s.running + s.queued == 0);
      opener.join();
    });
  }

  TEST_CASE("a kill waits for the job, whether it runs or is queued") {
    for_each_worker_count([](unsigned workers) {
      const Account seven(7, {70});
      run_with(limited(workers, 1), [] {
        Gate gate;
        std::atomic<int> live = 0, ran = 0;
        const auto victim = [&] {
          Counted outer(live);
          smarm::block_on_io([&] {
            gate.wait();
            ++ran;
          });
          smarm::park_current();
        };
        auto first = spawn_in(70, victim);
        CHECK(yield_until_running(1));
        auto second = spawn_in(70, victim);
        CHECK(yield_until_queued(1));
        CHECK(smarm::kill(first.pid()));
        CHECK(smarm::kill(second.pid()));
        for (int i = 0; i < 100; ++i) smarm::yield_now();  // for a kill that does not wait to show
        CHECK(live == 2);
        CHECK(pool().queued == 1);
        gate.open();
        for (auto* actor : {&first, &second}) {
          auto end = actor->join();
          REQUIRE_FALSE(end.has_value());
          CHECK(end.error().killed());
        }
        CHECK(ran == 2);
        CHECK(live == 0);
        CHECK(owner(7).done_total == 2);
      });
    });
  }

  TEST_CASE("an actor that dies runs its job itself") {
    run_at_each_worker_count([] {
      std::atomic<bool> ran = false;
      auto victim = smarm::spawn([&ran] {
        struct AtEnd {
          std::atomic<bool>& ran;
          ~AtEnd() {
            smarm::block_on_io([this] { ran = true; });
          }
        } at_end{ran};
        smarm::park_current();
      });
      CHECK(yield_until_parked(victim.pid()));
      CHECK(smarm::kill(victim.pid()));
      CHECK_FALSE(victim.join().has_value());
      CHECK(ran);
      CHECK(pool().threads == 0);
      CHECK(pool().done_total == 0);
    });
  }
}
