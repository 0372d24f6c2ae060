// Allocation-driven preemption, check() and NoPreempt.
#include "tests/unit/public/support.hpp"

#include <x86intrin.h>

#include <map>
#include <mutex>
#include <string>

using namespace test;

namespace {

smarm::Config eager(unsigned workers) {
  return smarm::Config::exact(workers).alloc_interval(1).timeslice_cycles(2000);
}

// Burns time without allocating and without a safe-point.
void spin_cycles(std::uint64_t cycles) {
  const std::uint64_t start = __rdtsc();
  while (__rdtsc() - start < cycles) _mm_pause();
}

}  // namespace

TEST_SUITE("public preempt") {
  TEST_CASE("an actor that allocates in a loop does not starve its peer on one worker") {
    smarm::Runtime runtime = smarm::init(smarm::Config::exact(1));
    runtime.run([] {
      std::atomic<bool> released = false;
      std::atomic<bool> gave_up = false;
      auto hog = smarm::spawn([&] {
        const auto deadline = SteadyClock::now() + kPatience;
        while (!released && !gave_up) {
          allocate();
          gave_up = SteadyClock::now() > deadline;
        }
      });
      auto peer = smarm::spawn([&] { released = true; });
      CHECK(hog.join());
      CHECK(peer.join());
      CHECK(released);
      CHECK_FALSE(gave_up);
    });
    CHECK(runtime.stats().live == 0);
  }

  TEST_CASE("two hogs share a worker and are both counted as preempted") {
    smarm::Runtime runtime = smarm::init(eager(1));
    runtime.run([] {
      std::atomic<int> turn = 0;
      // Each waits for the other: only preemption gets them through.
      auto hog = [&turn](int me) {
        for (int i = 0; i < 50; ++i) {
          while (turn % 2 != me) allocate();
          ++turn;
        }
      };
      auto a = smarm::spawn([hog] { hog(0); });
      auto b = smarm::spawn([hog] { hog(1); });
      CHECK(a.join());
      CHECK(b.join());
      CHECK(turn == 100);
    });
    const smarm::Stats stats = runtime.stats();
    CHECK(stats.total.preempted_alloc >= 50);
    CHECK(stats.live == 0);
  }

  TEST_CASE("containers and strings preempt as plain new does") {
    run_with(eager(1), [] {
      std::atomic<bool> released = false;
      auto hog = smarm::spawn([&] {
        std::map<std::string, std::string> map;
        int i = 0;
        while (!released)
          map[std::string(40, static_cast<char>('a' + i++ % 26))] = std::string(100, 'x');
        CHECK(map.size() <= 26);
      });
      auto peer = smarm::spawn([&] { released = true; });
      CHECK(hog.join());
      CHECK(peer.join());
    });
  }

  TEST_CASE("check() is a safe-point for a loop that never allocates") {
    run_at(1, [] {
      std::atomic<bool> released = false;
      auto hog = smarm::spawn([&] {
        while (!released) smarm::check();
      });
      auto peer = smarm::spawn([&] { released = true; });
      CHECK(hog.join());
      CHECK(peer.join());
    });
  }

  TEST_CASE("core calls count as ticks: a loop of sends or unparks does not starve its peer") {
    run_with(eager(1), [] {
      std::atomic<bool> released = false;
      auto [tx, rx] = smarm::channel<int>();
      auto sender = smarm::spawn([&, tx = std::move(tx)] {
        while (!released) (void)tx.send(1);
      });
      auto peer = smarm::spawn([&] { released = true; });
      CHECK(sender.join());
      CHECK(peer.join());

      released = false;
      auto waker = smarm::spawn([&] {
        while (!released) smarm::unpark(smarm::self_pid());
      });
      auto second = smarm::spawn([&] { released = true; });
      CHECK(waker.join());
      CHECK(second.join());
    });
  }

  TEST_CASE("NoPreempt holds the actor on its worker, nests, and lets go") {
    run_with(eager(1), [] {
      std::atomic<bool> peer_ran = false;
      auto peer = smarm::spawn([&] { peer_ran = true; });
      {
        smarm::NoPreempt outer;
        {
          smarm::NoPreempt inner;
          for (int i = 0; i < 200; ++i) allocate(), spin_cycles(5000);
        }
        for (int i = 0; i < 200; ++i) allocate(), spin_cycles(5000);
        CHECK_FALSE(peer_ran);
      }
      const auto deadline = SteadyClock::now() + kPatience;
      while (!peer_ran && SteadyClock::now() < deadline) allocate();
      CHECK(peer_ran);
      CHECK(peer.join());
    });
  }

  TEST_CASE(
      "an actor is not preempted while it holds a std::mutex, so two on a worker cannot deadlock") {
    for_each_worker_count([](unsigned workers) {
      run_with(eager(workers), [] {
        std::mutex mutex;
        long shared = 0;
        std::vector<smarm::JoinHandle> actors;
        for (int a = 0; a < 4; ++a)
          actors.push_back(smarm::spawn([&] {
            for (int i = 0; i < 200; ++i) {
              std::lock_guard lock(mutex);
              const long before = shared;
              allocate();
              spin_cycles(3000);
              allocate();
              shared = before + 1;
            }
          }));
        for (auto& end : smarm::join_all(actors)) CHECK(end);
        CHECK(shared == 800);
      });
    });
  }

  TEST_CASE("an actor is not preempted while it initialises a static") {
    for_each_worker_count([](unsigned workers) {
      run_with(eager(workers), [] {
        struct Slow {
          std::vector<std::string> parts;
          Slow() {
            for (int i = 0; i < 100; ++i) {
              parts.push_back(std::string(50, 'x'));
              spin_cycles(1000);
            }
          }
        };
        std::vector<smarm::JoinHandle> actors;
        for (int a = 0; a < 4; ++a)
          actors.push_back(smarm::spawn([] {
            static const Slow slow;
            CHECK(slow.parts.size() == 100);
          }));
        for (auto& end : smarm::join_all(actors)) CHECK(end);
      });
    });
  }

  TEST_CASE("an implicit yield resumes on the same OS thread") {
    for (unsigned workers : {2u, 4u}) {
      run_with(eager(workers), [] {
        std::vector<smarm::JoinHandle> actors;
        for (int a = 0; a < 6; ++a)
          actors.push_back(smarm::spawn([] {
            // gettid, since the compiler may fold two calls of pthread_self into one.
            const pid_t before = ::gettid();
            for (int i = 0; i < 500; ++i) allocate(), spin_cycles(1000);
            CHECK(::gettid() == before);
          }));
        for (auto& end : smarm::join_all(actors)) CHECK(end);
      });
    }
  }

  TEST_CASE("values in registers survive preemption") {
    run_with(eager(1), [] {
      std::vector<smarm::JoinHandle> actors;
      for (int a = 1; a <= 4; ++a)
        actors.push_back(smarm::spawn([a] {
          double x = a;
          std::uint64_t h = static_cast<std::uint64_t>(a);
          for (int i = 0; i < 20000; ++i) {
            x = x * 1.0000001 + 0.5;
            h = h * 6364136223846793005u + 1442695040888963407u;
            allocate();
          }
          double y = a;
          std::uint64_t k = static_cast<std::uint64_t>(a);
          for (int i = 0; i < 20000; ++i) {
            y = y * 1.0000001 + 0.5;
            k = k * 6364136223846793005u + 1442695040888963407u;
          }
          CHECK(x == y);
          CHECK(h == k);
        }));
      for (auto& end : smarm::join_all(actors)) CHECK(end);
    });
  }
}
