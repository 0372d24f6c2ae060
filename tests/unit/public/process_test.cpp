// Child processes, signals as a channel, whole files.
#include "tests/unit/public/io_support.hpp"

#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <system_error>

using namespace test;

namespace {

smarm::ProcessOptions shell(std::string script) {
  return {.program = "sh", .arguments = {"-c", std::move(script)}};
}

// One that is still on its way when nobody listens any more would end the program.
class Harmless {
 public:
  explicit Harmless(std::initializer_list<int> signals) : signals_(signals) {
    for (int s : signals_) std::signal(s, SIG_IGN);
  }
  ~Harmless() {
    for (int s : signals_) std::signal(s, SIG_DFL);
  }
  Harmless(const Harmless&) = delete;
  Harmless& operator=(const Harmless&) = delete;

 private:
  std::vector<int> signals_;
};

bool exists(int pid) { return ::kill(pid, 0) == 0; }

}  // namespace

TEST_SUITE("public processes") {
  TEST_CASE("a child runs, and its end is waited for") {
    run_at_each_worker_count([] {
      auto child = smarm::Process::start(shell("exit 7")).value();
      const auto end = child.wait(kPatience).value();
      CHECK(end.code == 7);
      CHECK(end.signal == 0);
      CHECK_FALSE(end.ok());
      CHECK(end.text() == "exit code 7");
      CHECK(child.wait().value().code == 7);  // again
      CHECK(child.kill(SIGTERM).error().code == std::errc::no_such_process);
    });
  }

  TEST_CASE("a wait runs out of time, a signal ends the child, others run meanwhile") {
    run_at_each_worker_count([] {
      auto child = smarm::Process::start(shell("exec sleep 1000")).value();
      CHECK(child.wait(1ms).error().code == std::errc::timed_out);
      auto killer = smarm::spawn([&child, waiter = smarm::self_pid()] {
        yield_until_parked(waiter);
        CHECK(child.kill(SIGTERM).has_value());
      });
      const auto end = child.wait(kPatience).value();
      CHECK(end.signal == SIGTERM);
      CHECK(end.text() == "SIGTERM");
      CHECK(killer.join());
    });
  }

  TEST_CASE("what it prints is collected, what it reads is given, however much") {
    run_at_each_worker_count([] {
      const std::string input = pattern(200'000);
      const auto echoed = smarm::run_process({.program = "cat"}, input, kPatience).value();
      CHECK(echoed.status.ok());
      CHECK(echoed.out == input);
      const auto both =
          smarm::run_process(shell("echo out; echo err >&2; exit 3"), {}, kPatience).value();
      CHECK(both.out == "out\n");
      CHECK(both.err == "err\n");
      CHECK(both.status.code == 3);
      // One that does not read its input.
      CHECK(smarm::run_process({.program = "true"}, input, kPatience).value().status.ok());
    });
  }

  TEST_CASE("pipes by hand: a dialogue") {
    run_at_each_worker_count([] {
      auto command = shell("while read line; do echo \"<$line>\"; done");
      command.in = command.out = smarm::Stdio::pipe;
      auto child = smarm::Process::start(command).value();
      for (int i = 0; i < 20; ++i) {
        const std::string line = "line " + std::to_string(i);
        REQUIRE(child.in.write_all(bytes(line + "\n"), kPatience).has_value());
        std::string answer(line.size() + 3, '\0');
        REQUIRE(child.out.read_exact(answer, kPatience).has_value());
        CHECK(answer == "<" + line + ">\n");
      }
      child.in.close();
      CHECK(child.wait(kPatience).value().ok());
    });
  }

  TEST_CASE("directory and environment are what was asked for") {
    run_at(1, [] {
      Directory d;
      auto command = shell("pwd; echo $NAME; echo ${HOME:-none}");
      command.directory = d.path;
      command.environment = {"NAME=value", "PATH=/usr/bin:/bin"};
      CHECK(smarm::run_process(command, {}, kPatience).value().out == d.path + "\nvalue\nnone\n");
    });
  }

  TEST_CASE(
      "a program that cannot be started is an error that names it, and leaves nothing" *
      doctest::skip(kValgrind) *
      doctest::description("Valgrind forks in place of vfork: the child's error is not seen")) {
    run_at(1, [] {
      const std::size_t fds = open_fds();
      const auto none = smarm::Process::start({.program = "/no/such/program"});
      REQUIRE_FALSE(none.has_value());
      CHECK(none.error().code == std::errc::no_such_file_or_directory);
      CHECK(none.error().what().find("/no/such/program") != std::string::npos);
      auto elsewhere = shell("true");
      elsewhere.directory = "/no/such/directory";
      elsewhere.out = elsewhere.err = elsewhere.in = smarm::Stdio::pipe;
      CHECK_FALSE(smarm::Process::start(elsewhere).has_value());
      CHECK(open_fds() == fds);
    });
  }

  TEST_CASE("a child that is dropped is killed and reaped; so is one whose actor is killed") {
    run_at_each_worker_count([] {
      const std::size_t fds = open_fds();
      int pid = 0;
      {
        auto child = smarm::Process::start(shell("exec sleep 1000")).value();
        pid = child.pid();
        CHECK(exists(pid));
      }
      CHECK_FALSE(exists(pid));
      std::atomic<int> second{0};
      auto owner = smarm::spawn([&second] {
        auto child = smarm::Process::start(shell("exec sleep 1000")).value();
        second = child.pid();
        (void)child.wait();
      });
      REQUIRE(yield_until([&] { return second != 0 && parked(owner.pid()); }));
      smarm::kill(owner.pid());
      CHECK_FALSE(owner.join());
      CHECK_FALSE(exists(second));
      CHECK(open_fds() == fds);
    });
  }

  TEST_CASE("a child whose actor is to unwind already is reaped, and the actor ends by its kill") {
    run_at_each_worker_count([] {
      const std::size_t fds = open_fds();
      std::atomic<int> pid{0};
      auto owner = smarm::spawn([&pid] {
        {
          auto child = smarm::Process::start(shell("exec sleep 1000")).value();
          pid = child.pid();
          smarm::kill(smarm::self_pid());
        }
        smarm::check();
        FAIL("it went on");
      });
      const auto end = owner.join();
      REQUIRE_FALSE(end.has_value());
      CHECK(std::string(end.error().what()) == "killed");
      CHECK_FALSE(exists(pid));
      CHECK(open_fds() == fds);
    });
  }

  TEST_CASE("a run that takes too long is ended, and so is one whose actor is killed") {
    run_at_each_worker_count([] {
      // The sleep holds the pipes: it is the shell's child, and outlives it.
      const auto late = smarm::run_process(shell("echo begun; sleep 3; true"), {}, 50ms);
      REQUIRE_FALSE(late.has_value());
      CHECK(late.error().code == std::errc::timed_out);
      auto owner = smarm::spawn([] { (void)smarm::run_process(shell("exec sleep 1000")); });
      REQUIRE(yield_until_parked(owner.pid()));
      smarm::kill(owner.pid());
      CHECK_FALSE(owner.join());
    });
  }

  TEST_CASE("the child has no signal blocked or ignored, though its parent has") {
    run_at(2, [] {
      std::signal(SIGPIPE, SIG_IGN);
      const auto set = [](const char* name) {
        const auto out =
            smarm::run_process(shell(std::string("grep ") + name + " /proc/self/status"), {},
                               kPatience)
                .value()
                .out;
        return std::stoull(out.substr(out.find('\t')), nullptr, 16);
      };
      CHECK(set("SigBlk") == 0);
      const unsigned long long libc_s_own = 3ull << 31;  // signals 32 and 33
      CHECK((set("SigIgn") & ~libc_s_own) == 0);
    });
  }
}

TEST_SUITE("public signals") {
  TEST_CASE("signals arrive in the channel, by number, and end nobody") {
    const Harmless harmless({SIGUSR1, SIGTERM});
    run_at_each_worker_count([] {
      auto signals = smarm::Signals::open({SIGUSR1, SIGTERM}).value();
      for (int s : {SIGUSR1, SIGTERM, SIGUSR1}) {
        REQUIRE(::kill(::getpid(), s) == 0);
        CHECK(signals.channel().recv_timeout(kPatience).value() == s);
      }
    });
  }

  TEST_CASE("everybody who asked gets it, and who did not ask gets nothing") {
    const Harmless harmless({SIGUSR1, SIGUSR2});
    run_at_each_worker_count([] {
      auto one = smarm::Signals::open({SIGUSR1, SIGUSR2}).value();
      auto two = smarm::Signals::open({SIGUSR1}).value();
      REQUIRE(::kill(::getpid(), SIGUSR1) == 0);
      CHECK(one.channel().recv_timeout(kPatience).value() == SIGUSR1);
      CHECK(two.channel().recv_timeout(kPatience).value() == SIGUSR1);
      REQUIRE(::kill(::getpid(), SIGUSR2) == 0);
      CHECK(one.channel().recv_timeout(kPatience).value() == SIGUSR2);
      CHECK_FALSE(two.channel().try_recv().has_value());
    });
  }

  TEST_CASE("when the last one goes, what the signal did before it does again") {
    static std::atomic<int> own{0};
    struct sigaction mine{};
    mine.sa_handler = [](int) { own.fetch_add(1); };
    struct sigaction before{};
    REQUIRE(::sigaction(SIGUSR2, &mine, &before) == 0);
    own = 0;
    run_at(1, [] {
      const std::size_t fds = open_fds();
      {
        auto outer = smarm::Signals::open({SIGUSR2}).value();
        {
          auto inner = smarm::Signals::open({SIGUSR2}).value();
        }
        REQUIRE(::kill(::getpid(), SIGUSR2) == 0);
        CHECK(outer.channel().recv_timeout(kPatience).value() == SIGUSR2);
        CHECK(own == 0);
      }
      REQUIRE(yield_until([&] { return open_fds() == fds; }));  // its actor has gone
      REQUIRE(::kill(::getpid(), SIGUSR2) == 0);
      CHECK(yield_until([] { return own == 1; }));
    });
    REQUIRE(::sigaction(SIGUSR2, &before, nullptr) == 0);
  }

  TEST_CASE("signals that cannot be caught, or that the runtime uses, are refused") {
    run_at(1, [] {
      for (int s : {SIGKILL, SIGSTOP, SIGSEGV, SIGABRT, 0, -1, 1000}) {
        auto refused = smarm::Signals::open({s});
        REQUIRE_FALSE(refused.has_value());
        CHECK(refused.error().code == std::errc::invalid_argument);
      }
      CHECK(smarm::Signals::open({SIGURG}).error().code == std::errc::device_or_resource_busy);
      CHECK(smarm::Signals::open({SIGURG}).error().what().find("SIGURG") != std::string::npos);
    });
  }

  TEST_CASE("a storm of signals while subscribers come and go") {
    const Harmless harmless({SIGUSR1});
    run_at_each_worker_count([] {
      auto steady = smarm::Signals::open({SIGUSR1}).value();
      std::atomic<bool> stop{false};
      auto storm = smarm::spawn([&stop] {
        while (!stop) {
          ::kill(::getpid(), SIGUSR1);
          smarm::yield_now();
        }
      });
      for (int i = 0; i < 200; ++i) {
        auto passing = smarm::Signals::open({SIGUSR1}).value();
        CHECK(passing.channel().recv_timeout(kPatience).value() == SIGUSR1);
      }
      stop = true;
      CHECK(storm.join());
      CHECK(steady.channel().recv_timeout(kPatience).value() == SIGUSR1);
    });
  }
}

TEST_SUITE("public files") {
  TEST_CASE("what is written is read, of any size") {
    run_at_each_worker_count([] {
      Directory d;
      const std::string path = d.path + "/file";
      for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65'536},
                               std::size_t{1'000'000}, std::size_t{10}}) {
        const std::string content = pattern(size);
        REQUIRE(smarm::write_file(path, content).has_value());
        CHECK(smarm::read_file(path).value() == content);
        CHECK(smarm::read_file(path, size).value() == content);
      }
    });
  }

  TEST_CASE("files whose size the system does not tell are read to their end") {
    run_at(1, [] {
      CHECK(smarm::read_file("/proc/self/status").value().find("VmRSS") != std::string::npos);
    });
  }

  TEST_CASE("errors name the file; one that is too large is not read") {
    run_at(1, [] {
      Directory d;
      const auto none = smarm::read_file(d.path + "/none");
      REQUIRE_FALSE(none.has_value());
      CHECK(none.error().code == std::errc::no_such_file_or_directory);
      CHECK(none.error().address == d.path + "/none");
      CHECK(smarm::read_file(d.path).error().code == std::errc::is_a_directory);
      CHECK(smarm::write_file(d.path, bytes("x")).error().code == std::errc::is_a_directory);
      CHECK(smarm::write_file("/dev/full", bytes("x")).error().code ==
            std::errc::no_space_on_device);
      REQUIRE(smarm::write_file(d.path + "/ten", bytes("0123456789")).has_value());
      CHECK(smarm::read_file(d.path + "/ten", 9).error().code == std::errc::file_too_large);
      CHECK(smarm::read_file("/proc/self/status", 9).error().code == std::errc::file_too_large);
    });
  }
}
