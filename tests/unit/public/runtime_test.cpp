// init, run, Config, stats, and how a run ends.
#include "tests/unit/public/support.hpp"

#include <sched.h>

#include <stdexcept>
#include <string>

using namespace test;

TEST_SUITE("public runtime") {
  TEST_CASE("run returns when everything has ended, not when the first actor has") {
    for_each_worker_count([](unsigned workers) {
      std::atomic<int> count = 0;
      run_at(workers, [&count] {
        for (int i = 0; i < 10; ++i)
          (void)smarm::spawn([&count] {
            for (int j = 0; j < 10; ++j) smarm::yield_now();
            ++count;
          });
      });
      CHECK(count == 10);
    });
  }

  TEST_CASE("smarm::run is one worker, the calling thread") {
    const auto self = std::this_thread::get_id();
    bool ran = false;
    smarm::run([&] {
      ran = true;
      CHECK(std::this_thread::get_id() == self);
      CHECK(smarm::stats().workers.size() == 1);
      CHECK(smarm::spawn([self] { CHECK(std::this_thread::get_id() == self); }).join());
    });
    CHECK(ran);
  }

  TEST_CASE("run inside run throws std::logic_error, and the outer run goes on") {
    run_at_each_worker_count([] {
      CHECK_THROWS_AS(smarm::run([] {}), std::logic_error);
      smarm::Runtime inner = smarm::init(smarm::Config::exact(1));
      CHECK_THROWS_AS(inner.run([] {}), std::logic_error);
      CHECK(smarm::spawn([] { CHECK_THROWS_AS(smarm::run([] {}), std::logic_error); }).join());
    });
  }

  TEST_CASE("what escapes the first actor comes out of run, after the others have ended") {
    for_each_worker_count([](unsigned workers) {
      std::atomic<bool> other_done = false;
      smarm::Runtime runtime = smarm::init(smarm::Config::exact(workers));
      CHECK_THROWS_WITH_AS(runtime.run([&other_done] {
        (void)smarm::spawn([&other_done] {
          for (int i = 0; i < 20; ++i) smarm::yield_now();
          other_done = true;
        });
        throw std::runtime_error("out of run");
      }),
                           "out of run", std::runtime_error);
      CHECK(other_done);
      CHECK(runtime.stats().live == 0);
    });
  }

  TEST_CASE("a first actor that is killed comes out of run as a JoinError") {
    for_each_worker_count([](unsigned workers) {
      bool killed = false;
      try {
        smarm::init(smarm::Config::exact(workers)).run([] {
          smarm::kill(smarm::self_pid());
          smarm::park_current();
        });
      } catch (const smarm::JoinError& e) {
        killed = e.killed();
      }
      CHECK(killed);
    });
  }

  TEST_CASE("a runtime runs again after it has returned") {
    for_each_worker_count([](unsigned workers) {
      smarm::Runtime runtime = smarm::init(smarm::Config::exact(workers));
      for (int i = 0; i < 20; ++i) {
        int sum = 0;
        runtime.run([&sum] {
          auto [tx, rx] = smarm::channel<int>();
          for (int j = 1; j <= 4; ++j) (void)smarm::spawn([tx = tx, j] { (void)tx.send(j); });
          tx = {};
          while (auto v = rx.recv()) sum += *v;
        });
        CHECK(sum == 10);
        CHECK(runtime.stats().live == 0);
      }
    });
  }

  TEST_CASE("two runtimes run at once on two threads and do not mix") {
    auto count_to = [](int n, std::atomic<long>& result) {
      smarm::init(smarm::Config::exact(2)).run([n, &result] {
        auto [tx, rx] = smarm::channel<int>();
        for (int i = 0; i < 4; ++i)
          (void)smarm::spawn([tx = tx, n] {
            for (int j = 0; j < n; ++j) (void)tx.send(1);
          });
        tx = {};
        while (auto v = rx.recv()) result += *v;
        CHECK(smarm::stats().workers.size() == 2);
      });
    };
    std::atomic<long> a = 0, b = 0;
    std::thread one([&] { count_to(2000, a); });
    std::thread two([&] { count_to(3000, b); });
    one.join();
    two.join();
    CHECK(a == 8000);
    CHECK(b == 12000);
  }

  TEST_CASE("a hundred runtimes come and go without leaving threads or descriptors") {
    auto threads = [] {
      return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                           std::filesystem::directory_iterator{});
    };
    smarm::run([] {});  // what is made once per process
    const auto threads_before = threads();
    const std::size_t fds_before = open_fds();
    for (int i = 0; i < 100; ++i) run_at(i % 4 + 1, [] { CHECK(smarm::spawn([] {}).join()); });
    // A joined thread may stand in /proc for a moment more.
    const auto deadline = SteadyClock::now() + kPatience;
    while (threads() != threads_before && SteadyClock::now() < deadline) std::this_thread::yield();
    CHECK(threads() == threads_before);
    CHECK(open_fds() == fds_before);
  }

  TEST_CASE("a runtime that never runs is destroyed, and may be moved") {
    smarm::Runtime a = smarm::init(smarm::Config::exact(2));
    smarm::Runtime b = std::move(a);
    bool ran = false;
    b.run([&ran] { ran = true; });
    CHECK(ran);
  }

  TEST_CASE("actors parked for ever are unwound when nothing else is left, destructors included") {
    for_each_worker_count([](unsigned workers) {
      std::atomic<int> live = 0, returned = 0;
      run_at(workers, [&] {
        for (int i = 0; i < 10; ++i) {
          (void)smarm::spawn([&] {
            Counted c(live);
            smarm::park_current();
            ++returned;
          });
          (void)smarm::spawn([&] {
            Counted c(live);
            auto [tx, rx] = smarm::channel<int>();
            (void)rx.recv();
            ++returned;
          });
        }
        (void)smarm::spawn([&] {
          Counted c(live);
          (void)smarm::spawn([] { smarm::park_current(); }).join();
          ++returned;
        });
        CHECK(yield_until([&] { return live == 21; }));
      });
      CHECK(live == 0);
      CHECK(returned <= 1);  // the joiner's child is unwound too; which of the two is first is open
    });
  }

  TEST_CASE("the first actor itself may be the one that is parked for ever") {
    for_each_worker_count([](unsigned workers) {
      std::atomic<int> live = 0;
      smarm::Runtime runtime = smarm::init(smarm::Config::exact(workers));
      bool returned = false;
      try {
        runtime.run([&] {
          Counted c(live);
          smarm::park_current();
          returned = true;
        });
      } catch (const smarm::JoinError& e) {  // it was unwound, which run may report
        CHECK(e.killed());
      }
      CHECK_FALSE(returned);
      CHECK(live == 0);
      CHECK(runtime.stats().live == 0);
    });
  }

  TEST_CASE("messages between actors parked for ever are destroyed") {
    std::atomic<int> live = 0;
    for_each_worker_count([&live](unsigned workers) {
      run_at(workers, [&live] {
        auto [tx, rx] = smarm::channel<Counted>();
        (void)smarm::spawn([rx = std::move(rx), &live]() mutable {
          Counted c(live);
          smarm::park_current();
        });
        for (int i = 0; i < 10; ++i) CHECK(tx.send(Counted(live)));
        CHECK(yield_until([&live] { return live == 11; }));
      });
      CHECK(live == 0);
    });
  }

  TEST_CASE("run waits for sleeps, waits with a time limit and blocking jobs") {
    for_each_worker_count([](unsigned workers) {
      std::atomic<int> done = 0;
      run_at(workers, [&done] {
        (void)smarm::spawn([&done] {
          smarm::sleep(10ms);
          ++done;
        });
        (void)smarm::spawn([&done] {
          auto [tx, rx] = smarm::channel<int>();
          (void)rx.recv_timeout(10ms);
          ++done;
        });
        (void)smarm::spawn([&done] {
          smarm::block_on_io([] { std::this_thread::sleep_for(10ms); });
          ++done;
        });
      });
      CHECK(done == 3);
    });
  }

  TEST_CASE("hold keeps run from ending for want of work until release") {
    for_each_worker_count([](unsigned workers) {
      std::atomic<bool> got = false;
      smarm::Runtime runtime = smarm::init(smarm::Config::exact(workers));
      std::thread sender;
      runtime.run([&] {
        auto [tx, rx] = smarm::channel<int>();
        smarm_runtime_hold(runtime.raw());
        sender = std::thread([&runtime, tx = std::move(tx)]() mutable {
          std::this_thread::sleep_for(
              30ms);  // the actor waits, and run must not take that for the end
          (void)tx.send(1);
          smarm_runtime_release(runtime.raw());
        });
        got = rx.recv() == 1;
      });
      sender.join();
      CHECK(got);
    });
  }

  TEST_CASE("stats count what happened, per worker and in total") {
    for_each_worker_count([](unsigned workers) {
      smarm::Runtime runtime = smarm::init(smarm::Config::exact(workers));
      runtime.run([workers] {
        std::vector<smarm::JoinHandle> actors;
        for (int i = 0; i < 100; ++i)
          actors.push_back(smarm::spawn([] {
            smarm::yield_now();
            smarm::sleep(5ms);
          }));
        for (auto& end : smarm::join_all(actors)) CHECK(end);
        CHECK(smarm::stats().workers.size() == workers);
      });
      const smarm::Stats stats = runtime.stats();
      CHECK(stats.workers.size() == workers);
      CHECK(stats.live == 0);
      CHECK(stats.total.spawned == 101);
      CHECK(stats.total.exited == 101);
      CHECK(stats.total.yields >= 100);
      // On a loaded machine a sleep may be over before its timer is armed.
      CHECK(stats.total.parks >= 50);
      CHECK(stats.total.timers_fired >= 50);
      CHECK(stats.total.resumes >= 201);
      std::uint64_t resumes = 0;
      for (const auto& w : stats.workers) resumes += w.resumes;
      CHECK(resumes == stats.total.resumes);
    });
  }

  TEST_CASE("work spreads: on several workers idle ones take over what one has too much of") {
    // Each actor waits, without a safe-point, until another one runs at the same time: only a
    // second worker helps.
    run_at(2, [] {
      std::atomic<int> present = 0;
      std::atomic<bool> gave_up = false;
      auto meet = [&] {
        ++present;
        const auto deadline = SteadyClock::now() + kPatience;
        while (present < 2)
          if (SteadyClock::now() > deadline) {
            gave_up = true;
            return;
          }
      };
      auto a = smarm::spawn(meet), b = smarm::spawn(meet);
      smarm::join_all(a, b);
      CHECK_FALSE(gave_up);
      for (const auto& worker : smarm::stats().workers) CHECK(worker.resumes >= 1);
    });
  }
}

TEST_SUITE("public config") {
  TEST_CASE("the default is one worker per usable CPU: the affinity mask counts") {
    cpu_set_t old;
    REQUIRE(::sched_getaffinity(0, sizeof old, &old) == 0);
    const smarm::Stats all = smarm::init().stats();
    CHECK(all.workers.size() >= 1);
    CHECK(all.workers.size() <= static_cast<std::size_t>(CPU_COUNT(&old)));
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &old)) {
        CPU_SET(cpu, &one);
        break;
      }
    REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
    const std::size_t workers = smarm::init(smarm::Config{}).stats().workers.size();
    REQUIRE(::sched_setaffinity(0, sizeof old, &old) == 0);
    CHECK(workers == 1);
  }

  TEST_CASE("the setters chain and the runtime obeys") {
    smarm::Config config = smarm::Config::exact(3)
                               .alloc_interval(64)
                               .timeslice_cycles(100000)
                               .stack_size(256 * 1024)
                               .blocking_threads(2)
                               .io_backend(smarm::IoBackend::epoll);
    run_with(config, [] {
      CHECK(smarm::stats().workers.size() == 3);
      auto deep = smarm::spawn([] {
        volatile char big[150 * 1024];  // volatile: really there. Too much for a default stack
        for (std::size_t i = 0; i < sizeof big; i += 4096) big[i] = 1;
      });
      CHECK(deep.join());
    });
    CHECK(smarm::Config::exact(1).workers(2).raw().workers == 2);
  }

  TEST_CASE("the io_uring backend works, or is refused by name") {
    const auto config = smarm::Config::exact(2).io_backend(smarm::IoBackend::io_uring);
    try {
      static_cast<void>(smarm::init(config));
    } catch (const std::invalid_argument& e) {
      CHECK(std::string(e.what()).find("io_uring") != std::string::npos);
      return;
    }
    run_with(config, [] {
      int fd[2];
      REQUIRE(::pipe(fd) == 0);
      auto reader = smarm::spawn([in = fd[0]] {
        char c = 0;
        CHECK(smarm::read(in, {&c, 1}, kPatience) == 1u);
        CHECK(c == 'x');
      });
      CHECK(yield_until_parked(reader.pid()));
      CHECK(smarm::write(fd[1], std::span<const char>("x", 1)) == 1u);
      CHECK(reader.join());
      ::close(fd[0]);
      ::close(fd[1]);
    });
  }

  TEST_CASE("what is out of range is refused with an error that names it") {
    CHECK_THROWS_AS(static_cast<void>(smarm::init(smarm::Config::exact(1).alloc_interval(0))),
                    std::invalid_argument);
    CHECK_THROWS_AS(
        static_cast<void>(smarm::init(smarm::Config::exact(1).alloc_interval(2'000'000))),
        std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(smarm::init(smarm::Config::exact(1'000'000))),
                    std::invalid_argument);
    std::string text;
    try {
      static_cast<void>(smarm::init(smarm::Config::exact(1).alloc_interval(0)));
    } catch (const std::invalid_argument& e) {
      text = e.what();
    }
    CHECK(text.find("alloc_interval") != std::string::npos);
  }

  TEST_CASE("timeslice and interval may be tuned while it runs") {
    smarm::Runtime runtime =
        smarm::init(smarm::Config::exact(1).timeslice_cycles(1'000'000'000'000));
    runtime.run([&runtime] {
      CHECK(smarm_runtime_tune(runtime.raw(), 1, 1000) == SMARM_OK);
      std::atomic<bool> released = false;
      auto hog = smarm::spawn([&] {
        while (!released) allocate();
      });
      auto peer = smarm::spawn([&] { released = true; });
      CHECK(hog.join());
      CHECK(peer.join());
    });
  }
}
