// Signals: what a supervisor hears of its children.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarms of g++ 12 at -O1
#include "tests/unit/public/support.hpp"

#include <map>
#include <stdexcept>
#include <string>

using namespace test;

namespace {

// The calling actor's mailbox, registered.
smarm::Receiver<smarm::Signal> supervise() {
  auto [tx, rx] = smarm::channel<smarm::Signal>();
  smarm::register_supervisor_channel(smarm::self_pid(), std::move(tx));
  return std::move(rx);
}

}  // namespace

TEST_SUITE("public supervision") {
  TEST_CASE("a normal end is an Exit, an exception a Panic with reason and type") {
    run_at_each_worker_count([] {
      auto mailbox = supervise();
      const smarm::Pid fine = smarm::spawn([] {}).pid();
      auto first = mailbox.recv();
      REQUIRE(first.has_value());
      REQUIRE(std::holds_alternative<smarm::Exit>(*first));
      CHECK(std::get<smarm::Exit>(*first).pid == fine);
      CHECK(smarm::pid_of(*first) == fine);

      const smarm::Pid bad = smarm::spawn([] { throw std::domain_error("boom"); }).pid();
      auto second = mailbox.recv();
      REQUIRE(second.has_value());
      REQUIRE(std::holds_alternative<smarm::Panic>(*second));
      const auto& panic = std::get<smarm::Panic>(*second);
      CHECK(panic.pid == bad);
      CHECK(panic.reason == "boom");
      CHECK(panic.type == "std::domain_error");
      CHECK_FALSE(panic.backtrace.empty());
    });
  }

  TEST_CASE("an int that is thrown is a Panic too") {
    run_at_each_worker_count([] {
      auto mailbox = supervise();
      (void)smarm::spawn([] { throw 7; });
      auto signal = mailbox.recv();
      REQUIRE(signal.has_value());
      REQUIRE(std::holds_alternative<smarm::Panic>(*signal));
      CHECK(std::get<smarm::Panic>(*signal).type == "int");
      CHECK_FALSE(std::get<smarm::Panic>(*signal).reason.empty());
    });
  }

  TEST_CASE("a killed child is a Panic whose reason is `killed`") {
    run_at_each_worker_count([] {
      auto mailbox = supervise();
      auto child = smarm::spawn([] { smarm::park_current(); });
      CHECK(smarm::kill(child.pid()));
      auto signal = mailbox.recv();
      REQUIRE(signal.has_value());
      REQUIRE(std::holds_alternative<smarm::Panic>(*signal));
      const auto& panic = std::get<smarm::Panic>(*signal);
      CHECK(panic.pid == child.pid());
      CHECK(panic.reason == "killed");
      CHECK(panic.type.empty());
      CHECK(child.join().error().killed());
    });
  }

  TEST_CASE("a child that overruns its deadline is a Timeout, then a killed Panic") {
    run_at_each_worker_count([] {
      auto mailbox = supervise();
      const auto start = SteadyClock::now();
      auto slow = smarm::spawn({.name = "slow", .deadline = 30ms}, [] { smarm::park_current(); });
      auto timeout = mailbox.recv_timeout(kPatience);
      REQUIRE(timeout.has_value());
      CHECK(SteadyClock::now() - start >= 30ms);
      REQUIRE(std::holds_alternative<smarm::Timeout>(*timeout));
      CHECK(std::get<smarm::Timeout>(*timeout).pid == slow.pid());
      auto end = mailbox.recv_timeout(kPatience);
      REQUIRE(end.has_value());
      REQUIRE(std::holds_alternative<smarm::Panic>(*end));
      CHECK(std::get<smarm::Panic>(*end).reason == "killed");
      CHECK(slow.join().error().killed());
    });
  }

  TEST_CASE("a child that ends before its deadline leaves no timer") {
    const auto start = SteadyClock::now();
    run_at_each_worker_count([] {
      auto mailbox = supervise();
      auto quick = smarm::spawn({.deadline = 1h}, [] {});
      CHECK(quick.join());
      auto signal = mailbox.recv();
      REQUIRE(signal.has_value());
      CHECK(std::holds_alternative<smarm::Exit>(*signal));
    });
    CHECK(SteadyClock::now() - start < kPatience);
  }

  TEST_CASE("spawn_under makes another actor the supervisor") {
    run_at_each_worker_count([] {
      auto mine = supervise();
      auto [out, in] = smarm::channel<smarm::Signal>();
      auto [ready, is_ready] = smarm::channel<int>();
      auto boss = smarm::spawn([out = std::move(out), ready = std::move(ready)]() mutable {
        auto mailbox = supervise();
        (void)ready.send(1);
        for (int i = 0; i < 2; ++i) (void)out.send(mailbox.recv().value());
      });
      const smarm::Pid boss_pid = boss.pid();
      CHECK(is_ready.recv());
      const smarm::Pid a =
          smarm::spawn_under(boss_pid, [] { throw std::runtime_error("a"); }).pid();
      CHECK(smarm::pid_of(in.recv().value()) == a);
      const smarm::Pid b = smarm::spawn_under(boss_pid, {.name = "b"}, [] {}).pid();
      CHECK(smarm::pid_of(in.recv().value()) == b);
      CHECK(boss.join());
      auto only = mine.recv();
      REQUIRE(only.has_value());
      CHECK(smarm::pid_of(*only) == boss_pid);  // and nothing of a and b
      CHECK(mine.try_recv().error() == smarm::RecvError::empty);
    });
  }

  TEST_CASE(
      "ROOT_PID drops signals, and so does a supervisor without a mailbox or one that has ended") {
    run_at_each_worker_count([] {
      auto mailbox = supervise();
      CHECK_FALSE(smarm::spawn_under(smarm::ROOT_PID, [] { throw 1; }).join().has_value());
      auto loner =
          smarm::spawn([] { CHECK(smarm::spawn([] { throw 1; }).join().error().type() == "int"); });
      const smarm::Pid gone = loner.pid();
      CHECK(loner.join());
      auto first = mailbox.recv();
      REQUIRE(first.has_value());
      CHECK(std::holds_alternative<smarm::Exit>(*first));
      CHECK(smarm::spawn_under(gone, [] {}).join());
      CHECK(mailbox.try_recv().error() == smarm::RecvError::empty);
      CHECK_NOTHROW(smarm::register_supervisor_channel(gone, {}));
    });
  }

  TEST_CASE("a signal arrives for joined and for detached children alike, once each") {
    run_at_each_worker_count([] {
      auto mailbox = supervise();
      constexpr int kChildren = 200;
      std::map<smarm::Pid, int> expected;
      std::vector<smarm::JoinHandle> handles;
      for (int i = 0; i < kChildren; ++i) {
        auto child = smarm::spawn([i] {
          if (i % 3 == 0) throw std::runtime_error("third");
          if (i % 3 == 1) smarm::yield_now();
        });
        expected[child.pid()] = i;
        if (i % 2) handles.push_back(std::move(child));
      }
      bool kinds = true;
      for (int i = 0; i < kChildren; ++i) {
        auto signal = mailbox.recv_timeout(kPatience);
        REQUIRE(signal.has_value());
        auto it = expected.find(smarm::pid_of(*signal));
        REQUIRE(it != expected.end());
        kinds = kinds && std::holds_alternative<smarm::Panic>(*signal) == (it->second % 3 == 0);
        expected.erase(it);
      }
      CHECK(kinds);
      CHECK(expected.empty());
      CHECK(mailbox.try_recv().error() == smarm::RecvError::empty);
      smarm::join_all(handles);
    });
  }

  TEST_CASE("a second registration replaces the first, which then closes") {
    run_at_each_worker_count([] {
      auto first = supervise();
      auto second = supervise();
      CHECK(first.recv().error() == smarm::RecvError::closed);
      const smarm::Pid child = smarm::spawn([] {}).pid();
      CHECK(smarm::pid_of(second.recv().value()) == child);
    });
  }

  TEST_CASE("the registration ends with the supervisor: its mailbox closes") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<smarm::Signal>();
      auto boss = smarm::spawn([tx = std::move(tx)]() mutable {
        smarm::register_supervisor_channel(smarm::self_pid(), std::move(tx));
        CHECK(smarm::spawn([] {}).join());
      });
      CHECK(boss.join());
      CHECK(rx.recv());
      CHECK(rx.recv().error() == smarm::RecvError::closed);
    });
  }

  TEST_CASE("a supervisor that restarts its child sees each generation with a pid of its own") {
    run_at_each_worker_count([] {
      auto mailbox = supervise();
      std::vector<smarm::Pid> pids;
      for (int i = 0; i < 20; ++i) {
        pids.push_back(smarm::spawn([] { throw std::runtime_error("again"); }).pid());
        auto signal = mailbox.recv();
        REQUIRE(signal.has_value());
        CHECK(smarm::pid_of(*signal) == pids.back());
      }
      std::sort(pids.begin(), pids.end());
      CHECK(std::adjacent_find(pids.begin(), pids.end()) == pids.end());
    });
  }

  TEST_CASE("a bounded mailbox is refused, and what was registered before stays") {
    run_at_each_worker_count([] {
      auto mailbox = supervise();
      auto [tx, rx] = smarm::bounded_channel<smarm::Signal>(1);
      CHECK_THROWS_AS(smarm::register_supervisor_channel(smarm::self_pid(), tx),
                      std::invalid_argument);
      tx = {};
      CHECK(rx.try_recv().error() == smarm::RecvError::closed);  // no reference is kept
      std::vector<smarm::JoinHandle> children;
      for (int i = 0; i < 4; ++i) children.push_back(smarm::spawn([] {}));
      for (auto& end : smarm::join_all(children)) CHECK(end);
      for (int i = 0; i < 4; ++i) CHECK(mailbox.recv_timeout(kPatience).has_value());
    });
  }

  TEST_CASE("a mailbox that is registered for an actor that has ended is closed, not kept") {
    run_at_each_worker_count([] {
      auto child = smarm::spawn([] {});
      const smarm::Pid pid = child.pid();
      CHECK(yield_until([pid] { return state_of(pid) == "ended"; }));
      for (bool joined : {false, true}) {  // the block is done, then free
        if (joined) CHECK(child.join());
        auto [tx, rx] = smarm::channel<smarm::Signal>();
        smarm::register_supervisor_channel(pid, std::move(tx));
        CHECK(rx.try_recv().error() == smarm::RecvError::closed);
      }
    });
  }
}
