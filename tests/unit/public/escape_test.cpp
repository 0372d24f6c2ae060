// What code does outside its actor: it ends the process, forks, changes handlers. (What only
// plugins are kept from is tested with the daemon: a program's own text is the host's.)
#include "tests/unit/public/support.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <threads.h>

#include <cstdlib>
#include <exception>
#include <functional>
#include <string>

using namespace test;

// Under AddressSanitizer nothing is thrown for a call that must not come back.
#if defined(__SANITIZE_ADDRESS__)
#define ACTOR_CASE(name)            \
  TEST_CASE(name* doctest::skip() * \
            doctest::description(   \
                "AddressSanitizer lets nothing be thrown for a call that must not come back"))
#else
#define ACTOR_CASE(name) TEST_CASE(name)
#endif
// Nor does ThreadSanitizer let a forked child start threads.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PROCESS_CASE(name) \
  TEST_CASE(name* doctest::skip() * doctest::description("a sanitizer's own end of the process"))
#else
#define PROCESS_CASE(name) TEST_CASE(name)
#endif
#if SMARM_VALGRIND
#define PREEMPTED_CASE(name) \
  TEST_CASE(name* doctest::skip() * doctest::description("Valgrind knows no XSAVEC"))
#else
#define PREEMPTED_CASE(name) PROCESS_CASE(name)
#endif

namespace {

volatile int zero = 0;

struct Way {
  const char* name;
  std::function<void()> out;
};
const Way kWays[] = {{"exit", [] { std::exit(3); }},
                     {"quick_exit", [] { std::quick_exit(3); }},
                     {"_exit", [] { ::_exit(3); }},
                     {"_Exit", [] { std::_Exit(3); }}};

smarm::Config two() { return smarm::Config::exact(2); }
smarm::Config host() {
  return two().on_fault(smarm::OnFault::panic_safe, smarm::FaultScope::plugins);
}

bool exited(int status, int code) { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// How the child of an actor that does that ends.
Ended after_fork(const std::function<void()>& f) {
  return in_reporting_child([&] {
    int status = -1;
    smarm::init(two()).run([&] {
      const pid_t child = ::fork();
      if (child == 0) {
        f();
        ::_exit(0);
      }
      smarm::block_on_io([&] { ::waitpid(child, &status, 0); });
    });
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 200);
  });
}

void replace_by_system_call(int signal, void (*handler)(int)) {
  struct {
    void (*handler)(int);
    unsigned long flags = 0;
    void (*restorer)() = nullptr;
    unsigned long mask = 0;
  } action{handler};
  if (::syscall(SYS_rt_sigaction, signal, &action, nullptr, sizeof action.mask) != 0) std::abort();
}
void (*handler_of(int signal))(int) {
  struct sigaction now{};
  ::sigaction(signal, nullptr, &now);
  return now.sa_handler;
}

struct Told {
  std::vector<std::pair<std::uint32_t, std::string>> all;
  Told() {
    smarm_set_notice_handler(
        [](const smarm_notice* n, void* self) {
          static_cast<Told*>(self)->all.emplace_back(n->kind, n->text);
        },
        this);
  }
  ~Told() { smarm_set_notice_handler(nullptr, nullptr); }
};

}  // namespace

TEST_SUITE("public escape") {
  ACTOR_CASE("an actor that ends the process ends itself") {
    run_at_each_worker_count([] {
      for (const Way& way : kWays) {
        std::atomic<int> live = 0;
        auto end = smarm::spawn([&] {
                     const Counted counted(live);
                     way.out();
                   }).join();
        REQUIRE_FALSE(end.has_value());
        CHECK(end.error().type() == "smarm::Fault");
        const std::string message = end.error().what();
        CHECK_MESSAGE(message.find("called " + std::string(way.name) + "(3) in ") == 0, message);
        CHECK_MESSAGE(!has(message, "abandoned"), message);
        CHECK(live == 0);
      }
    });
  }

  ACTOR_CASE("nor can it end its worker") {
    run_at_each_worker_count([] {
      auto end = smarm::spawn([] { ::pthread_exit(nullptr); }).join();
      REQUIRE_FALSE(end.has_value());
      CHECK(std::string(end.error().what()).find("called pthread_exit in ") == 0);
      end = smarm::spawn([] { ::thrd_exit(1); }).join();
      REQUIRE_FALSE(end.has_value());
      CHECK(std::string(end.error().what()).find("called thrd_exit in ") == 0);
      std::thread([] { ::pthread_exit(nullptr); }).join();
    });
  }

  PROCESS_CASE("on_fault abort: it ends the process, with a report") {
    for (const Way& way : kWays) {
      const Ended ended = in_reporting_child(
          [&] { smarm::init(two().on_fault(smarm::OnFault::abort)).run([&] { way.out(); }); });
      CHECK(WIFSIGNALED(ended.status));
      CHECK(WTERMSIG(ended.status) == SIGABRT);
      CHECK_MESSAGE(has(ended.report, way.name), ended.report);
    }
  }

  PROCESS_CASE("outside actors the program ends as it says, a host too") {
    for (const Way& way : kWays) {
      CHECK(exited(in_child_process([&] { way.out(); }), 3));
      CHECK(exited(in_child_process([&] {
                     smarm::init(two()).run([] {});
                     way.out();
                   }),
                   3));
      CHECK(exited(in_child_process([&] {
                     smarm::init(host()).run([&] { std::thread([&] { way.out(); }).join(); });
                   }),
                   3));
      CHECK(exited(in_child_process([&] { smarm::init(host()).run([&] { way.out(); }); }), 3));
    }
  }

  PROCESS_CASE("the child of an actor that forks computes, execs and exits") {
    CHECK(exited(after_fork([] { ::_exit(5); }).status, 5));
    CHECK(exited(after_fork([] { std::quick_exit(6); }).status, 6));
    CHECK(exited(after_fork([] { ::execl("/bin/sh", "sh", "-c", "exit 7", nullptr); }).status, 7));
    CHECK(exited(after_fork([] {
                   for (int i = 0; i < 10'000; ++i) allocate();
                   ::_exit(8);
                 }).status,
                 8));
  }

  PROCESS_CASE("where it would need the runtime, it ends with a line that says so") {
    auto [tx, rx] = smarm::channel<int>();
    auto mutex = std::make_shared<smarm::Mutex<int>>(0);
    const std::function<void()> calls[] = {
        [] { smarm::yield_now(); },
        [] { smarm::sleep(1ms); },
        [] { (void)smarm::spawn([] {}); },
        [] { smarm::block_on_io([] {}); },
        [] { (void)smarm::channel<int>(); },
        [&tx] { (void)tx.send(1); },
        [mutex] { (void)mutex->lock(); },
        [] {
          int fds[2];
          (void)!::pipe(fds);
          (void)smarm::wait_readable(fds[0]);
        },
    };
    for (std::size_t i = 0; i < std::size(calls); ++i) {
      CAPTURE(i);
      const Ended ended = after_fork(calls[i]);
      CHECK(exited(ended.status, 70));
      CHECK_MESSAGE(has(ended.report, "smarm: a forked child called the runtime"), ended.report);
    }
    const Ended ended = in_reporting_child([] {
      int status = -1;
      smarm::init(two()).run([&status] {
        pid_t child = -1;
        (void)smarm::spawn([&child] { child = ::fork(); }).join();
        smarm::block_on_io([&] { ::waitpid(child, &status, 0); });
      });
      ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 200);
    });
    CHECK(exited(ended.status, 70));
    CHECK(has(ended.report, "came to the end of its actor"));
  }

  PROCESS_CASE("a program may fork between a runtime's making and its run") {
    CHECK(exited(in_child_process([] {
                   smarm::Runtime runtime = smarm::init(two());
                   if (const pid_t child = ::fork(); child != 0) {
                     int status = -1;
                     ::waitpid(child, &status, 0);
                     ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 200);
                   }
                   int n = 0;
                   runtime.run([&n] {
                     smarm::sleep(1ms);
                     n = smarm::spawn([] { std::exit(1); }).join() ? 1 : 9;
                   });
                   ::_exit(n);
                 }),
                 9));
  }

  PROCESS_CASE("what stands in for a host's handlers is put back, and told of") {
    CHECK(exited(in_child_process([] {
                   smarm::Runtime runtime = smarm::init(host());
                   Told told;
                   const auto ours = handler_of(SIGSEGV);
                   smarm_process_check();
                   bool right = told.all.empty();
                   // The host itself may.
                   ::signal(SIGHUP, SIG_IGN);
                   smarm_process_check();
                   right = right && handler_of(SIGHUP) == SIG_IGN;
                   replace_by_system_call(SIGSEGV, SIG_IGN);
                   replace_by_system_call(SIGHUP, SIG_DFL);
                   std::set_terminate([] { ::_exit(1); });
                   smarm_process_check();
                   right = right && handler_of(SIGSEGV) == ours && handler_of(SIGHUP) == SIG_IGN &&
                           told.all.size() == 3;
                   const char* words[] = {"SIGSEGV", "SIGHUP", "std::terminate"};
                   for (std::size_t i = 0; right && i < 3; ++i) {
                     right = told.all[i].first == SMARM_NOTICE_RESTORED &&
                             has(told.all[i].second, words[i]);
                   }
                   ::_exit(right ? 4 : 5);
                 }),
                 4));
  }

  PROCESS_CASE("the monitor looks after them while actors run, in a host and nowhere else") {
    for (const bool is_host : {true, false}) {
      const Ended ended = in_reporting_child([is_host] {
        smarm::Config config = is_host ? host() : two();
        // Valgrind has no XSAVEC; the monitor is there all the same.
        if (!kValgrind) config = config.async_preempt(std::chrono::milliseconds(10));
        smarm::Runtime runtime = smarm::init(config);
        bool put_back = false;
        runtime.run([is_host, &put_back] {
          const auto ours = handler_of(SIGFPE);
          replace_by_system_call(SIGFPE, SIG_IGN);
          const auto patience = SteadyClock::now() + (is_host ? 20s : 3s);
          while (handler_of(SIGFPE) != ours && SteadyClock::now() < patience) smarm::yield_now();
          put_back = handler_of(SIGFPE) == ours;
        });
        ::_exit(put_back ? 1 : 2);
      });
      CHECK(has(ended.report, "smarm: the handler of SIGFPE had been replaced") == is_host);
      CHECK(exited(ended.status, is_host ? 1 : 2));
    }
  }

  PROCESS_CASE("the report shows every other actor that runs, and names those that wait") {
    const Ended ended = in_reporting_child([] {
      smarm_set_report_prefix("<2>");
      smarm::init(smarm::Config::exact(3)).run([] {
        const auto named = [](const char* name) {
          smarm::SpawnOptions options;
          options.name = name;
          return options;
        };
        std::atomic<int> running = 0;
        (void)smarm::spawn(named("sleeper"), [] { smarm::sleep(1h); });
        auto spins = smarm::spawn(named("spinner"), [&running] {
          ++running;
          while (!zero) {
          }
        });
        auto blocks = smarm::spawn(named("blocker"), [&running] {
          ++running;
          ::pause();
        });
        while (running < 2) smarm::yield_now();
        *reinterpret_cast<volatile int*>(0x1234'5678'9000) = 1;
      });
    });
    CHECK(WIFSIGNALED(ended.status));
    CHECK(WTERMSIG(ended.status) == SIGSEGV);
    const std::string& r = ended.report;
    CHECK_MESSAGE(r.find("<2>smarm: SIGSEGV, address 0x123456789000") == 0, r);
    for (const char* name : {"spinner", "blocker"}) {
      const auto at = r.find("\"" + std::string(name) + "\"");
      REQUIRE_MESSAGE(at != std::string::npos, r);
      CHECK_MESSAGE(has(r.substr(at), "<2>  #0 0x"), r);
    }
    CHECK_MESSAGE(r.find("<2>smarm: meanwhile") != r.rfind("<2>smarm: meanwhile"), r);
    const auto waiting = r.find("smarm: waiting: ");
    REQUIRE_MESSAGE(waiting != std::string::npos, r);
    CHECK_MESSAGE(has(r.substr(waiting), "\"sleeper\", sleep"), r);
    CHECK_MESSAGE(!has(r, "does not answer"), r);
  }

  PREEMPTED_CASE("the report is not held up by preemption by signal") {
    for (int round = 0; round < 3; ++round) {
      const Ended ended = in_reporting_child([] {
        ::alarm(60);
        smarm::init(smarm::Config::exact(4).async_preempt(std::chrono::milliseconds(10))).run([] {
          std::atomic<int> running = 0;
          for (int i = 0; i < 3; ++i) {
            (void)smarm::spawn([&running] {
              ++running;
              while (!zero) {
              }
            });
          }
          while (running < 3) smarm::yield_now();
          *reinterpret_cast<volatile int*>(0x1234'5678'9000) = 1;
        });
      });
      CHECK(WIFSIGNALED(ended.status));
      CHECK(WTERMSIG(ended.status) == SIGSEGV);
      CHECK_MESSAGE(has(ended.report, "smarm: meanwhile"), ended.report);
    }
  }
}
