// std::terminate in an actor abandons that actor, and nobody else: where a kill or an exception
// meets a frame that lets nothing through.
#include "tests/unit/public/support.hpp"

#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>

using namespace test;

namespace {

struct Joiner {
  smarm::JoinHandle handle;
  ~Joiner() { (void)handle.join(); }
};

// The compiler warns of a throw that it sees in a noexcept function.
template <class E>
[[gnu::noipa]] void fail(const char* what) {
  throw E(what);
}

struct Parks {
  ~Parks() { smarm::park_current(); }
};

// The error has an exception of that type. What was thrown is never let go of.
template <class E>
void check_lost(const smarm::JoinError& error) {
  bool right = false;
  try {
    std::rethrow_exception(error.exception());
  } catch (const E& e) {
    lost_on_purpose(&e);
    right = true;
  }
  CHECK(right);
}

// Kills an actor in wait(), checks that it was abandoned with a record that says so, and that its
// joiner, its supervisor and the others go on.
void check_abandoned_in(std::function<void()> wait) {
  run_at_each_worker_count([&wait] {
    auto [tx, mailbox] = smarm::channel<smarm::Signal>();
    smarm::register_supervisor_channel(smarm::self_pid(), std::move(tx));
    std::atomic<bool> returned = false, stop = false;
    std::atomic<long> beats = 0;
    auto bystander = smarm::spawn_under(smarm::ROOT_PID, [&] {
      for (; !stop; ++beats) smarm::yield_now();
    });
    auto victim = smarm::spawn([&] {
      wait();
      returned = true;
    });
    const smarm::Pid pid = victim.pid();
    CHECK(yield_until_parked(pid));
    CHECK(smarm::kill(pid));
    auto end = victim.join();
    REQUIRE_FALSE(end.has_value());
    CHECK(end.error().killed());
    CHECK(end.error().pid() == pid);
    CHECK(std::string(end.error().what()).find("killed") == 0);
    CHECK(std::string(end.error().what()).find("abandoned") != std::string::npos);
    CHECK_FALSE(returned);
    CHECK_FALSE(smarm::kill(pid));
    auto signal = mailbox.recv_timeout(kPatience);
    REQUIRE(signal.has_value());
    REQUIRE(std::holds_alternative<smarm::Panic>(*signal));
    CHECK(smarm::pid_of(*signal) == pid);
    CHECK(std::get<smarm::Panic>(*signal).reason.find("abandoned") != std::string::npos);
    const long seen = beats;
    CHECK(yield_until([&] { return beats > seen + 10; }));
    stop = true;
    CHECK(bystander.join());
    // Its worker is sound: what comes next on it throws, catches and waits as ever.
    std::vector<smarm::JoinHandle> next;
    for (int i = 0; i < 8; ++i)
      next.push_back(smarm::spawn([] {
        CHECK(std::uncaught_exceptions() == 0);
        CHECK(std::current_exception() == nullptr);
        try {
          throw std::runtime_error("own");
        } catch (const std::exception& e) {
          smarm::yield_now();
          CHECK(std::string(e.what()) == "own");
        }
      }));
    for (auto& joined : smarm::join_all(next)) CHECK(joined);
  });
}

}  // namespace

TEST_SUITE("public terminate") {
  TEST_CASE("kill of an actor that waits in a destructor on its ordinary way out") {
    check_abandoned_in([] {
      // The child outlives its parent and is unwound when nothing else is left.
      Joiner joiner{smarm::spawn_under(smarm::ROOT_PID, [] { smarm::park_current(); })};
    });
  }

  TEST_CASE("kill of an actor that waits in a catch (...) inside another handler") {
    check_abandoned_in([] {
      try {
        throw 1;
      } catch (const int& caught) {
        lost_on_purpose(&caught);
        try {
          smarm::park_current();
        } catch (...) {
          throw;
        }
      }
    });
  }

  TEST_CASE("kill of an actor that waits in a noexcept function") {
    check_abandoned_in([] {
      auto wait = []() noexcept {
        smarm::sleep(1h);
        escape(nullptr);
      };
      wait();
    });
  }

  TEST_CASE("kill of an actor that waits in a destructor in the body of a generator") {
    check_abandoned_in([] {
      auto numbers = [] {
        const LostOnPurpose lost;
        return smarm::Generator<int>([](auto& yield) {
          {
            const Parks parks;
          }
          yield(1);
        });
      }();
      (void)numbers.next();
    });
  }

  TEST_CASE("an exception that leaves a noexcept function is a Panic with its message") {
    run_at_each_worker_count([] {
      auto [tx, mailbox] = smarm::channel<smarm::Signal>();
      smarm::register_supervisor_channel(smarm::self_pid(), std::move(tx));
      auto bad = smarm::spawn([] {
        auto f = []() noexcept { fail<std::domain_error>("out of noexcept"); };
        f();
      });
      auto end = bad.join();
      REQUIRE_FALSE(end.has_value());
      CHECK_FALSE(end.error().killed());
      CHECK(end.error().type() == "std::domain_error");
      CHECK(std::string(end.error().what()).find("out of noexcept") == 0);
      check_lost<std::domain_error>(end.error());
      auto signal = mailbox.recv_timeout(kPatience);
      REQUIRE(signal.has_value());
      REQUIRE(std::holds_alternative<smarm::Panic>(*signal));
      const auto& panic = std::get<smarm::Panic>(*signal);
      CHECK(panic.reason.find("out of noexcept") == 0);
      CHECK(panic.type == "std::domain_error");
      CHECK_FALSE(panic.backtrace.empty());
    });
  }

  TEST_CASE("std::terminate itself, and a bare throw, are Panics too") {
    run_at_each_worker_count([] {
      auto plain = smarm::spawn([] { std::terminate(); }).join();
      REQUIRE_FALSE(plain.has_value());
      CHECK_FALSE(plain.error().killed());
      CHECK(std::string(plain.error().what()).find("terminate") != std::string::npos);
      auto bare = smarm::spawn([] { throw; }).join();
      REQUIRE_FALSE(bare.has_value());
      CHECK_FALSE(bare.error().killed());
      if (kAsan) return;  // what follows loses a half-made record
      struct Mute : std::exception {
        const char* what() const noexcept override {
          fail<std::domain_error>("no words");
          return "";
        }
      };
      auto mute = smarm::spawn([] { throw Mute(); }).join();
      REQUIRE_FALSE(mute.has_value());
      CHECK_FALSE(mute.error().killed());
      CHECK(std::string(mute.error().what()).find("terminate") != std::string::npos);
      check_lost<std::domain_error>(mute.error());
    });
  }

  TEST_CASE("the first actor may be the one that is abandoned") {
    for_each_worker_count([](unsigned workers) {
      smarm::Runtime runtime = smarm::init(smarm::Config::exact(workers));
      bool thrown = false;
      try {
        runtime.run([]() noexcept { fail<std::range_error>("first"); });
      } catch (const std::range_error& e) {
        lost_on_purpose(&e);
        thrown = true;
      }
      CHECK(thrown);
      CHECK(runtime.stats().live == 0);
      int ran = 0;
      runtime.run([&ran] { ++ran; });
      CHECK(ran == 1);
    });
  }

  TEST_CASE("actors parked for ever in such frames do not keep run from ending") {
    for_each_worker_count([](unsigned workers) {
      std::atomic<int> live = 0;
      run_at(workers, [&live] {
        for (int i = 0; i < 8; ++i) {
          (void)smarm::spawn([] { const Parks parks; });
          (void)smarm::spawn([&live] {
            Counted counted(live);
            smarm::park_current();
          });
        }
      });
      CHECK(live == 0);
    });
  }

  TEST_CASE("outside an actor the process ends as it would without a runtime" *
            doctest::skip(kTsan) *
            doctest::description("ThreadSanitizer allows no thread in a forked child")) {
    const int status = in_child_process([] {
      smarm::run([] {});
      std::fclose(stderr);
      std::terminate();
    });
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGABRT);
  }
}
