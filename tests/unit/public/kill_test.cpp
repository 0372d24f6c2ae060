// kill unwinds an actor wherever it waits, destructors included; stop only asks.
#include "tests/unit/public/support.hpp"

#include <cxxabi.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <functional>
#include <string>

using namespace test;

namespace {

// Spawns wait(), sees it parked, kills it and checks that its destructors ran and its joiner knows.
void check_killed_in(const char* where, std::function<void()> wait) {
  CAPTURE(where);
  run_at_each_worker_count([&wait] {
    std::atomic<int> live = 0;
    std::atomic<bool> returned = false;
    auto victim = smarm::spawn([&] {
      Counted outer(live);
      wait();
      returned = true;
    });
    CHECK(yield_until_parked(victim.pid()));
    CHECK(live == 1);
    CHECK(smarm::kill(victim.pid()));
    auto end = victim.join();
    REQUIRE_FALSE(end.has_value());
    CHECK(end.error().killed());
    CHECK(std::string(end.error().what()) == "killed");
    CHECK(end.error().type().empty());
    CHECK(end.error().exception() == nullptr);
    CHECK(live == 0);
    CHECK_FALSE(returned);
    CHECK(smarm::stats().live == 1);
  });
}

struct SocketPair {
  int fd[2] = {-1, -1};
  SocketPair() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0); }
  ~SocketPair() {
    ::close(fd[0]);
    ::close(fd[1]);
  }
};

}  // namespace

TEST_SUITE("public kill") {
  TEST_CASE("kill in park_current") {
    check_killed_in("park", [] { smarm::park_current(); });
  }
  TEST_CASE("kill in recv, in recv_timeout and in select") {
    check_killed_in("recv", [] {
      auto [tx, rx] = smarm::channel<int>();
      (void)rx.recv();
    });
    check_killed_in("recv_timeout", [] {
      auto [tx, rx] = smarm::channel<int>();
      (void)rx.recv_timeout(1h);
    });
    check_killed_in("select", [] {
      auto [tx1, rx1] = smarm::channel<int>();
      auto [tx2, rx2] = smarm::channel<std::string>();
      (void)smarm::select(rx1, rx2);
    });
  }
  TEST_CASE("kill in a send that waits for room destroys the message") {
    std::atomic<int> messages = 0;
    check_killed_in("send", [&messages] {
      auto [tx, rx] = smarm::bounded_channel<Counted>(1);
      (void)tx.send(Counted(messages));
      (void)tx.send(Counted(messages));
    });
    CHECK(messages == 0);
  }
  TEST_CASE("kill in sleep leaves no timer: run ends at once") {
    const auto start = SteadyClock::now();
    check_killed_in("sleep", [] { smarm::sleep(1h); });
    CHECK(SteadyClock::now() - start < kPatience);
  }
  TEST_CASE("kill in join detaches the joined actor") {
    check_killed_in("join", [] {
      auto child = smarm::spawn([] { smarm::park_current(); });
      struct KillChild {
        smarm::Pid pid;
        ~KillChild() { smarm::kill(pid); }
      } guard{child.pid()};
      (void)child.join();
    });
  }
  TEST_CASE("kill in wait_readable, read and accept leaves nothing registered") {
    const std::size_t fds = open_fds();
    check_killed_in("wait_readable", [] {
      SocketPair s;
      (void)smarm::wait_readable(s.fd[0]);
    });
    check_killed_in("read", [] {
      SocketPair s;
      char c;
      (void)smarm::read(s.fd[0], {&c, 1});
    });
    check_killed_in("accept", [] {
      auto listener = smarm::TcpListener::bind("127.0.0.1:0");
      (void)listener.value().accept();
    });
    CHECK(open_fds() == fds);
  }
  TEST_CASE("kill in block_on_io unwinds once the job is done") {
    run_at_each_worker_count([] {
      std::atomic<int> live = 0;
      std::atomic<bool> started = false, go = false, finished = false;
      auto victim = smarm::spawn([&] {
        Counted outer(live);
        smarm::block_on_io([&] {
          started = true;
          while (!go) std::this_thread::yield();
          finished = true;
        });
        smarm::park_current();
      });
      CHECK(yield_until([&] { return started.load(); }));
      CHECK(smarm::kill(victim.pid()));
      go = true;
      auto end = victim.join();
      REQUIRE_FALSE(end.has_value());
      CHECK(end.error().killed());
      CHECK(finished);
      CHECK(live == 0);
    });
  }

  TEST_CASE("kill in Mutex::lock leaves the queue, and the killed holder's guard unlocks") {
    run_at_each_worker_count([] {
      smarm::Mutex<int> mutex(0);
      std::atomic<int> live = 0;
      auto holder = smarm::spawn([&] {
        auto guard = mutex.lock();
        smarm::park_current();
      });
      CHECK(yield_until_parked(holder.pid()));
      auto waiter = smarm::spawn([&] {
        Counted outer(live);
        (void)mutex.lock();
      });
      auto heir = smarm::spawn([&] {
        auto guard = mutex.lock();
        if (guard) **guard = 5;
      });
      CHECK(yield_until_parked(waiter.pid()));
      CHECK(yield_until_parked(heir.pid()));
      CHECK(smarm::kill(waiter.pid()));
      CHECK(waiter.join().error().killed());
      CHECK(live == 0);
      CHECK(smarm::kill(holder.pid()));
      CHECK(holder.join().error().killed());
      CHECK(heir.join());
      CHECK(*mutex.try_lock().value() == 5);
    });
  }

  TEST_CASE("an actor that is killed before its first run drops its closure unrun") {
    run_at(1, [] {
      std::atomic<int> live = 0;
      std::atomic<bool> ran = false;
      smarm::JoinHandle victim;
      {
        smarm::NoPreempt no_preempt;
        victim = smarm::spawn([held = Counted(live), &ran] { ran = true; });
        CHECK(live == 1);
        CHECK(smarm::kill(victim.pid()));
      }
      auto end = victim.join();
      REQUIRE_FALSE(end.has_value());
      CHECK(end.error().killed());
      CHECK_FALSE(ran);
      CHECK(live == 0);
    });
  }

  TEST_CASE("a running actor is unwound at check() or yield_now(), not at an allocation") {
    run_at_each_worker_count([] {
      std::atomic<bool> started = false;
      std::atomic<int> live = 0;
      auto victim = smarm::spawn([&] {
        Counted outer(live);
        for (;;) {
          started = true;
          smarm::check();
        }
      });
      CHECK(yield_until([&] { return started.load(); }));
      CHECK(smarm::kill(victim.pid()));
      CHECK(victim.join().error().killed());
      CHECK(live == 0);

      std::atomic<bool> killed = false;
      std::atomic<int> allocations_after = 0;
      auto [tx, rx] = smarm::channel<int>();
      auto allocator = smarm::spawn([&, tx = std::move(tx)] {
        (void)tx.send(1);
        while (!killed) allocate();
        for (int i = 0; i < 1000; ++i) allocate(), ++allocations_after;
        smarm::yield_now();
      });
      CHECK(rx.recv());
      CHECK(smarm::kill(allocator.pid()));
      killed = true;
      CHECK(allocator.join().error().killed());
      CHECK(allocations_after == 1000);
    });
  }

  TEST_CASE("an actor may kill itself: it ends at its next park") {
    run_at_each_worker_count([] {
      std::atomic<bool> after_kill = false, after_park = false;
      auto victim = smarm::spawn([&] {
        smarm::kill(smarm::self_pid());
        after_kill = true;
        smarm::park_current();
        after_park = true;
      });
      CHECK(victim.join().error().killed());
      CHECK(after_kill);
      CHECK_FALSE(after_park);
    });
  }

  TEST_CASE(
      "catch (...) that rethrows the forced unwind lets the kill pass; a typed catch never sees "
      "it") {
    run_at_each_worker_count([] {
      std::atomic<bool> seen = false, typed = false;
      auto victim = smarm::spawn([&] {
        try {
          try {
            smarm::park_current();
          } catch (const std::exception&) {
            typed = true;
          }
        } catch (abi::__forced_unwind&) {
          seen = true;
          throw;
        }
      });
      CHECK(yield_until_parked(victim.pid()));
      CHECK(smarm::kill(victim.pid()));
      CHECK(victim.join().error().killed());
      CHECK(seen);
      CHECK_FALSE(typed);
    });
  }

  TEST_CASE("a destructor may send, unpark, kill and spawn while its actor is unwound") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<int>();
      struct Farewell {
        smarm::Sender<int> tx;
        ~Farewell() {
          (void)tx.send(1);
          (void)smarm::spawn([tx = tx] { (void)tx.send(2); });
        }
      };
      auto victim = smarm::spawn([tx = std::move(tx)]() mutable {
        Farewell farewell{std::move(tx)};
        smarm::park_current();
      });
      CHECK(yield_until_parked(victim.pid()));
      CHECK(smarm::kill(victim.pid()));
      CHECK(victim.join().error().killed());
      int sum = 0;
      while (auto v = rx.recv()) sum += *v;
      CHECK(sum == 3);
    });
  }

  TEST_CASE("a destructor that waits while its actor is unwound does not take the process down") {
    // In a child process: the failure would be std::terminate.
    const int status = in_child_process([] {
      smarm::init(config_at(2)).run([] {
        struct Waits {
          smarm::Receiver<int>* rx;
          smarm::Mutex<int>* mutex;
          ~Waits() {
            smarm::yield_now();
            smarm::sleep(1ms);
            smarm::park_current();
            (void)rx->recv();
            (void)mutex->lock();
            smarm::check();
          }
        };
        auto [tx, rx] = smarm::channel<int>();
        smarm::Mutex<int> mutex;
        auto guard = mutex.lock();
        auto victim = smarm::spawn([rx = std::move(rx), &mutex]() mutable {
          Waits waits{&rx, &mutex};
          smarm::park_current();
        });
        if (!yield_until_parked(victim.pid())) ::_exit(3);
        smarm::kill(victim.pid());
        auto end = victim.join();
        if (end || !end.error().killed()) ::_exit(4);
      });
    });
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }

  TEST_CASE("a kill that comes twice, and one that comes too late") {
    run_at_each_worker_count([] {
      auto victim = smarm::spawn([] { smarm::park_current(); });
      const smarm::Pid pid = victim.pid();
      CHECK(yield_until_parked(pid));
      CHECK(smarm::kill(pid));
      smarm::kill(pid);
      CHECK(victim.join().error().killed());
      CHECK_FALSE(smarm::kill(pid));
    });
  }

  TEST_CASE("kill from a foreign thread") {
    run_at_each_worker_count([] {
      auto victim = smarm::spawn([] { smarm::park_current(); });
      std::thread killer([pid = victim.pid()] { smarm::kill(pid); });
      smarm::block_on_io([&] { killer.join(); });
      CHECK(victim.join().error().killed());
    });
  }

  TEST_CASE("stop asks and nothing more") {
    run_at_each_worker_count([] {
      CHECK_FALSE(smarm::stop_requested());
      std::atomic<bool> asked = false;
      auto actor = smarm::spawn([&asked] {
        while (!smarm::stop_requested()) smarm::yield_now();
        asked = true;
      });
      for (int i = 0; i < 10; ++i) smarm::yield_now();
      CHECK_FALSE(asked);
      CHECK(smarm::stop(actor.pid()));
      CHECK(actor.join());
      CHECK(asked);
      CHECK_FALSE(smarm::stop_requested());
    });
  }
}
