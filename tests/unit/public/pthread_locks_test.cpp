// The locks of pthreads and C11 in actors: who waits for one lets the others of its worker run, who
// holds one is not preempted.
#include "tests/unit/public/support.hpp"

#include <pthread.h>
#include <threads.h>
#include <x86intrin.h>

#include <cerrno>
#include <functional>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <string>

using namespace test;

namespace {

struct Locks {
  std::mutex mutex;
  std::recursive_mutex recursive;
  std::timed_mutex timed;
  std::shared_timed_mutex shared;
  mtx_t c11;
  pthread_spinlock_t spin;

  Locks() {
    mtx_init(&c11, mtx_timed);
    pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE);
  }
  ~Locks() {
    mtx_destroy(&c11);
    pthread_spin_destroy(&spin);
  }
};

// One way to wait for a lock: one takes it and gives it back, while another holds it.
struct Way {
  std::string name;
  std::function<void()> hold, release;
  std::function<void()> take, give_back;
};

auto soon() { return SteadyClock::now() + 2 * kPatience; }
auto soon_by_the_wall() { return std::chrono::system_clock::now() + 2 * kPatience; }
timespec soon_in_c() {
  timespec t;
  timespec_get(&t, TIME_UTC);
  t.tv_sec += 2 * kPatience.count();
  return t;
}

std::vector<Way> ways(Locks& l) {
  std::vector<Way> ways;
  const auto add = [&](const char* name, auto& lock, auto take) {
    ways.push_back(
        {name, [&] { lock.lock(); }, [&] { lock.unlock(); }, take, [&] { lock.unlock(); }});
  };
  add("mutex", l.mutex, [&] { l.mutex.lock(); });
  add("recursive_mutex", l.recursive, [&] { l.recursive.lock(); });
  add("clocklock", l.timed, [&] { CHECK(l.timed.try_lock_until(soon())); });
  add("timedlock", l.timed, [&] { CHECK(l.timed.try_lock_until(soon_by_the_wall())); });
  add("wrlock after a writer", l.shared, [&] { l.shared.lock(); });
  const auto write = [&](const char* name, auto take) {
    ways.push_back({name, [&] { l.shared.lock_shared(); }, [&] { l.shared.unlock_shared(); }, take,
                    [&] { l.shared.unlock(); }});
  };
  write("wrlock", [&] { l.shared.lock(); });
  write("clockwrlock", [&] { CHECK(l.shared.try_lock_until(soon())); });
  write("timedwrlock", [&] { CHECK(l.shared.try_lock_until(soon_by_the_wall())); });
  const auto read = [&](const char* name, auto take) {
    ways.push_back({name, [&] { l.shared.lock(); }, [&] { l.shared.unlock(); }, take,
                    [&] { l.shared.unlock_shared(); }});
  };
  read("rdlock", [&] { l.shared.lock_shared(); });
  read("clockrdlock", [&] { CHECK(l.shared.try_lock_shared_until(soon())); });
  read("timedrdlock", [&] { CHECK(l.shared.try_lock_shared_until(soon_by_the_wall())); });
  const auto c11 = [&](const char* name, auto take) {
    ways.push_back({name, [&] { mtx_lock(&l.c11); }, [&] { mtx_unlock(&l.c11); }, take,
                    [&] { CHECK(mtx_unlock(&l.c11) == thrd_success); }});
  };
  c11("mtx_lock", [&] { CHECK(mtx_lock(&l.c11) == thrd_success); });
  c11("mtx_timedlock", [&] {
    const timespec t = soon_in_c();
    CHECK(mtx_timedlock(&l.c11, &t) == thrd_success);
  });
  ways.push_back({"pthread_spin_lock", [&] { pthread_spin_lock(&l.spin); },
                  [&] { pthread_spin_unlock(&l.spin); }, [&] { pthread_spin_lock(&l.spin); },
                  [&] { pthread_spin_unlock(&l.spin); }});
  // TSan of g++ 12 does not see that these take a lock.
  if (kTsan) std::erase_if(ways, [](const Way& way) { return way.name.starts_with("clock"); });
  return ways;
}

// An OS thread that holds a lock until it is told to let go, or has waited long enough.
class Holder {
 public:
  Holder(std::function<void()> hold, std::function<void()> release)
      : thread_([this, hold = std::move(hold), release = std::move(release)] {
          hold();
          holds_.release();
          gave_up_ = !let_go_.try_acquire_for(kPatience);
          release();
        }) {
    holds_.acquire();
  }
  ~Holder() {
    if (thread_.joinable()) done();
  }
  void let_go() { let_go_.release(); }
  // True when it was told.
  bool done() {
    thread_.join();
    return !gave_up_;
  }

 private:
  std::binary_semaphore holds_{0}, let_go_{0};
  bool gave_up_ = false;
  std::thread thread_;
};

smarm::Config eager(unsigned workers) {
  return smarm::Config::exact(workers).alloc_interval(1).timeslice_cycles(2000);
}

void spin_cycles(std::uint64_t cycles) {
  const std::uint64_t start = __rdtsc();
  while (__rdtsc() - start < cycles) _mm_pause();
}

// Between `take` and `give_back` no other actor of the worker has a turn.
template <class Take, class GiveBack>
void check_not_preempted(Take take, GiveBack give_back) {
  run_with(eager(1), [&] {
    std::atomic<bool> peer_ran = false;
    take();
    auto peer = smarm::spawn([&] { peer_ran = true; });
    for (int i = 0; i < 200; ++i) allocate(), spin_cycles(5000);
    CHECK_FALSE(peer_ran);
    give_back();
    const auto deadline = SteadyClock::now() + kPatience;
    while (!peer_ran && SteadyClock::now() < deadline) allocate();
    CHECK(peer_ran);
    CHECK(peer.join());
  });
}

}  // namespace

TEST_SUITE("public pthread locks") {
  TEST_CASE("actors that wait for a lock let the others go on, and keep thread and errno") {
    for (unsigned workers : {1u, 2u}) {
      Locks locks;
      for (const Way& way : ways(locks)) {
        CAPTURE(workers);
        CAPTURE(way.name);
        Holder holder(way.hold, way.release);
        run_at(workers, [&] {
          // One more than there are workers: blocked threads would leave none.
          const unsigned n = workers + 1;
          std::atomic<unsigned> waiting = 0, taken = 0;
          std::vector<smarm::JoinHandle> waiters;
          for (unsigned i = 0; i < n; ++i)
            waiters.push_back(smarm::spawn([&] {
              const pid_t thread = ::gettid();
              ++waiting;
              errno = ENOTNAM;
              way.take();
              const int after = errno;
              CHECK(after == ENOTNAM);
              CHECK(::gettid() == thread);
              ++taken;
              way.give_back();
            }));
          CHECK(yield_until([&] { return waiting == n; }));
          for (int turns = 0; turns < 100; ++turns) {
            errno = 0;
            smarm::yield_now();
          }
          CHECK(taken == 0);
          holder.let_go();
          for (auto& end : smarm::join_all(waiters)) CHECK(end);
          CHECK(taken == n);
        });
        REQUIRE(holder.done());  // or else each way costs all of its patience
      }
    }
  }

  TEST_CASE("a lock that is waited for until a time gives up then, and the others go on") {
    static constexpr auto kWait = 20ms;
    Locks l;
    struct Timed {
      std::string name;
      std::function<void()> hold, release;
      std::function<bool()> take;
    };
    const auto hold_shared = [&] { l.shared.lock(); };
    const auto release_shared = [&] { l.shared.unlock(); };
    const auto steady = [] { return SteadyClock::now() + kWait; };
    const auto wall = [] { return std::chrono::system_clock::now() + kWait; };
    const Timed ways[] = {
        {"clocklock", [&] { l.timed.lock(); }, [&] { l.timed.unlock(); },
         [&] { return l.timed.try_lock_until(steady()); }},
        {"timedlock", [&] { l.timed.lock(); }, [&] { l.timed.unlock(); },
         [&] { return l.timed.try_lock_until(wall()); }},
        {"clockwrlock", hold_shared, release_shared,
         [&] { return l.shared.try_lock_until(steady()); }},
        {"timedwrlock", hold_shared, release_shared,
         [&] { return l.shared.try_lock_until(wall()); }},
        {"clockrdlock", hold_shared, release_shared,
         [&] { return l.shared.try_lock_shared_until(steady()); }},
        {"timedrdlock", hold_shared, release_shared,
         [&] { return l.shared.try_lock_shared_until(wall()); }},
        {"mtx_timedlock", [&] { mtx_lock(&l.c11); }, [&] { mtx_unlock(&l.c11); },
         [&] {
           timespec t;
           timespec_get(&t, TIME_UTC);
           t.tv_nsec += std::chrono::nanoseconds(kWait).count();
           if (t.tv_nsec >= 1'000'000'000) ++t.tv_sec, t.tv_nsec -= 1'000'000'000;
           const int result = mtx_timedlock(&l.c11, &t);
           CHECK(result == thrd_timedout);
           return result == thrd_success;
         }},
    };
    for (const Timed& way : ways) {
      for (bool alone : {false, true}) {
        CAPTURE(way.name);
        CAPTURE(alone);
        Holder holder(way.hold, way.release);
        run_at(1, [&] {
          std::atomic<bool> done = alone;
          std::atomic<long> turns = 0;
          auto peer = smarm::spawn([&] {
            while (!done) ++turns, smarm::yield_now();
          });
          CHECK(yield_until([&] { return alone || turns > 0; }));
          const long before = turns;
          const auto start = SteadyClock::now();
          CHECK_FALSE(way.take());
          CHECK(SteadyClock::now() - start > kWait * 3 / 4);  // the wall's clock may be set
          CHECK((alone || turns > before));
          done = true;
          CHECK(peer.join());
        });
        holder.let_go();
        CHECK(holder.done());
      }
    }
  }

  TEST_CASE("a worker whose actors all wait for a lock burns no CPU") {
    for (int waiting : {1, 3}) {
      CAPTURE(waiting);
      std::mutex mutex;
      Holder holder([&] { mutex.lock(); }, [&] { mutex.unlock(); });
      smarm::Runtime runtime = smarm::init(smarm::Config::exact(1));
      bool retried = false;
      SteadyClock::duration took{};
      std::thread watch([&] {
        const auto start = SteadyClock::now();
        const auto retries = [&] { return runtime.stats().total.preempted_alloc; };
        while (retries() < 60 && SteadyClock::now() < start + kPatience) std::this_thread::yield();
        retried = retries() >= 60;
        took = SteadyClock::now() - start;
        holder.let_go();
      });
      runtime.run([&] {
        std::vector<smarm::JoinHandle> waiters;
        for (int i = 0; i < waiting; ++i)
          waiters.push_back(smarm::spawn([&] { std::lock_guard guard(mutex); }));
        for (auto& end : smarm::join_all(waiters)) CHECK(end);
      });
      watch.join();
      CHECK(holder.done());
      CHECK(retried);
      CHECK(took > 5ms);  // a loop without naps takes 60 us
    }
  }

  TEST_CASE("an actor that holds another lock waits on its thread") {
    std::mutex first, second;
    std::atomic<bool> waits = false;
    std::atomic<bool> peer_ran = false;
    Holder holder([&] { second.lock(); },
                  [&] {
                    while (!waits) std::this_thread::yield();
                    spin_cycles(10'000'000);  // time enough to do the wrong thing
                    second.unlock();
                  });
    holder.let_go();
    run_at(1, [&] {
      first.lock();
      auto peer = smarm::spawn([&] { peer_ran = true; });
      waits = true;
      second.lock();
      CHECK_FALSE(peer_ran);
      second.unlock();
      first.unlock();
      CHECK(peer.join());
    });
    CHECK(holder.done());
  }

  TEST_CASE("what glibc says of a lock is passed on") {
    pthread_mutexattr_t checking;
    pthread_mutexattr_init(&checking);
    pthread_mutexattr_settype(&checking, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutexattr_t robust;
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_t m, orphan;
    pthread_mutex_init(&m, &checking);
    pthread_mutex_init(&orphan, &robust);
    Holder holder([&] { pthread_mutex_lock(&orphan); }, [] {});
    run_at(1, [&] {
      CHECK(pthread_mutex_lock(&m) == 0);
      CHECK(pthread_mutex_lock(&m) == EDEADLK);
      CHECK(pthread_mutex_trylock(&m) == EBUSY);
      CHECK(pthread_mutex_unlock(&m) == 0);
      timespec t{.tv_sec = 0, .tv_nsec = 0};
      CHECK(pthread_mutex_clocklock(&m, CLOCK_PROCESS_CPUTIME_ID, &t) == EINVAL);
      CHECK(pthread_mutex_timedlock(&orphan, &t) == ETIMEDOUT);
      t.tv_nsec = -1;
      CHECK(pthread_mutex_timedlock(&orphan, &t) == EINVAL);

      bool inherited = false;
      auto heir = smarm::spawn([&] {
        CHECK(pthread_mutex_lock(&orphan) == EOWNERDEAD);
        CHECK(pthread_mutex_consistent(&orphan) == 0);
        CHECK(pthread_mutex_unlock(&orphan) == 0);
        inherited = true;
      });
      for (int turns = 0; turns < 10; ++turns) smarm::yield_now();
      holder.let_go();
      // Keeps the heir from a nap: TSan does not know that a timed lock may be inherited.
      CHECK(yield_until([&] { return inherited; }));
      CHECK(heir.join());
    });
    CHECK(holder.done());
    pthread_mutex_destroy(&m);
    pthread_mutex_destroy(&orphan);
    pthread_mutexattr_destroy(&checking);
    pthread_mutexattr_destroy(&robust);
  }

  TEST_CASE("an actor is not preempted while it holds a C11 mutex or a spin lock") {
    Locks l;
    const auto unlock = [&] { CHECK(mtx_unlock(&l.c11) == thrd_success); };
    check_not_preempted([&] { CHECK(mtx_lock(&l.c11) == thrd_success); }, unlock);
    check_not_preempted([&] { CHECK(mtx_trylock(&l.c11) == thrd_success); }, unlock);
    check_not_preempted(
        [&] {
          const timespec t = soon_in_c();
          CHECK(mtx_timedlock(&l.c11, &t) == thrd_success);
        },
        unlock);
    const auto unlock_spin = [&] { CHECK(pthread_spin_unlock(&l.spin) == 0); };
    check_not_preempted([&] { CHECK(pthread_spin_lock(&l.spin) == 0); }, unlock_spin);
    check_not_preempted([&] { CHECK(pthread_spin_trylock(&l.spin) == 0); }, unlock_spin);
  }

  TEST_CASE("an actor is not preempted while it runs a call_once routine") {
    run_with(eager(1), [] {
      static std::atomic<bool> peer_ran = false;
      static smarm::JoinHandle peer;
      static once_flag once = ONCE_FLAG_INIT;
      call_once(&once, [] {
        peer = smarm::spawn([] { peer_ran = true; });
        for (int i = 0; i < 200; ++i) allocate(), spin_cycles(5000);
        CHECK_FALSE(peer_ran);
      });
      CHECK(peer.join());
    });
  }

  TEST_CASE("actors that allocate under a lock, and threads, keep each other out") {
    for_each_worker_count([](unsigned workers) {
      Locks locks;
      for (const Way& way : ways(locks)) {
        CAPTURE(way.name);
        if (way.name.ends_with("rdlock")) continue;  // readers share
        long shared = 0;
        const auto work = [&] {
          for (int i = 0; i < 50; ++i) {
            way.take();
            const long before = shared;
            allocate();
            spin_cycles(3000);
            shared = before + 1;
            way.give_back();
          }
        };
        std::thread thread(work);
        run_with(eager(workers), [&] {
          std::vector<smarm::JoinHandle> actors;
          for (int a = 0; a < 4; ++a) actors.push_back(smarm::spawn(work));
          for (auto& end : smarm::join_all(actors)) CHECK(end);
        });
        thread.join();
        CHECK(shared == 250);
      }
    });
  }
}
