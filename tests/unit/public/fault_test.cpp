// Faults and stack overflows end the actor that made them, or, by policy, the process with a
// report.
#include "tests/unit/public/support.hpp"

#include <sys/mman.h>

#include <cassert>
#include <csignal>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>

using namespace test;

namespace {

// Under AddressSanitizer its own handlers report every fault and end the process.
#if defined(__SANITIZE_ADDRESS__)
#define FAULT_CASE(name)            \
  TEST_CASE(name* doctest::skip() * \
            doctest::description("AddressSanitizer reports every fault by itself"))
#elif SMARM_VALGRIND
#define FAULT_CASE(name)            \
  TEST_CASE(name* doctest::skip() * \
            doctest::description("Valgrind loses its stack where a signal handler moves it"))
#else
#define FAULT_CASE(name) TEST_CASE(name)
#endif
// Nor does ThreadSanitizer let a forked child start threads.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || SMARM_VALGRIND
#define PROCESS_CASE(name) \
  TEST_CASE(name* doctest::skip() * doctest::description("a sanitizer's own end of the process"))
#else
#define PROCESS_CASE(name) TEST_CASE(name)
#endif

volatile int zero = 0;
volatile int* volatile null_pointer = nullptr;
volatile int* volatile wild_pointer = reinterpret_cast<volatile int*>(0x1234'5678'9000);
void (*volatile null_function)() = nullptr;

// How a frame keeps the compiler from making a loop of a recursion. ThreadSanitizer's functions run
// on the actor's stack: on the smallest ones an overflow in them, instead of here, is its own end.
[[gnu::noipa, gnu::no_sanitize("thread")]] int deep(int n) {
  volatile char frame[200];
  frame[0] = static_cast<char>(n);
  return zero ? 0 : deep(n + 1) + frame[0];
}
[[gnu::noipa]] int deep_in_large_frames(int n) {
  volatile char frame[20'000];
  frame[0] = static_cast<char>(n);
  return zero ? 0 : deep_in_large_frames(n + 1) + frame[0];
}
[[gnu::noipa]] int deep_and_allocating(int n) {
  volatile char frame[40];
  frame[0] = static_cast<char>(n);
  auto text = std::make_unique<std::string>(100, 'x');
  escape(text.get());
  return zero ? 0 : deep_and_allocating(n + 1) + frame[0];
}
[[gnu::noipa, maybe_unused]] int deep_and_yielding(int n) {
  volatile char frame[40];
  frame[0] = static_cast<char>(n);
  smarm::yield_now();
  return zero ? 0 : deep_and_yielding(n + 1) + frame[0];
}
[[gnu::noipa]] int deep_and_throwing(int n) {
  volatile char frame[40];
  frame[0] = static_cast<char>(n);
  try {
    throw n;
  } catch (int) {
  }
  return zero ? 0 : deep_and_throwing(n + 1) + frame[0];
}
struct DeepAtTheEnd {
  ~DeepAtTheEnd() { deep(0); }
};
[[gnu::noipa]] int divide(int a, int b) { return a / b; }

struct Fault {
  const char* what;
  std::function<void()> make;
  const char* message;
  int signal;
};
const Fault kFaults[] = {
    {"read of null", [] { escape(reinterpret_cast<void*>(static_cast<long>(*null_pointer))); },
     "SIGSEGV: access to address 0x0 in ", SIGSEGV},
    {"write near null", [] { null_pointer[1000] = 1; }, "SIGSEGV: access to address 0xfa0 in ",
     SIGSEGV},
    {"call of null", [] { null_function(); }, "SIGSEGV: call of address 0x0 in ", SIGSEGV},
    {"jump to null, as a last act",
     [] {
       void (*const f)() = null_function;
       f();
     },
     "SIGSEGV: call of address 0x0 in ", SIGSEGV},
    {"division by zero", [] { divide(1, zero); }, "SIGFPE (arithmetic) in ", SIGFPE},
    {"illegal instruction", [] { asm volatile("ud2"); }, "SIGILL (illegal instruction) in ",
     SIGILL},
    {"abort", [] { std::abort(); }, "abort() was called in ", SIGABRT},
    {"assertion", [] { assert(zero == 1); }, "assertion failed: zero == 1 (", SIGABRT},
};
const Fault kOverflows[] = {
    {"recursion", [] { deep(0); }, "stack overflow: used ", SIGSEGV},
    {"large frames", [] { deep_in_large_frames(0); }, "stack overflow: used ", SIGSEGV},
    {"allocating", [] { deep_and_allocating(0); }, "stack overflow: used ", SIGSEGV},
#if !defined(__SANITIZE_THREAD__)  // it holds a lock of its own there, which no handler gets
    {"in the runtime's calls", [] { deep_and_yielding(0); }, "stack overflow: used ", SIGSEGV},
#endif
    {"throwing", [] { deep_and_throwing(0); }, "stack overflow: used ", SIGSEGV},
    {"in a destructor", [] { const DeepAtTheEnd d; }, "stack overflow: used ", SIGSEGV},
    {"in a destructor while unwinding",
     [] {
       const DeepAtTheEnd d;
       throw std::runtime_error("lost");
     },
     "stack overflow: used ", SIGSEGV},
    {"in a handler",
     [] {
       try {
         throw 1;
       } catch (int) {
         deep(0);
       }
     },
     "stack overflow: used ", SIGSEGV},
    {"in a noexcept function", [] { []() noexcept { deep(0); }(); }, "stack overflow: used ",
     SIGSEGV},
};

// Runs `fault` under an object of an outer frame, which must be destroyed.
[[gnu::noipa]] void under_an_object(const std::function<void()>& fault, std::atomic<int>& live) {
  const Counted counted(live);
  fault();
}

// The actor ends by a Panic that its joiner and supervisor hear of; a neighbour goes on.
void check_panics(const Fault& fault, const smarm::Config& config) {
  CAPTURE(std::string(fault.what));
  std::atomic<int> live = 0;
  run_with(config, [&] {
    auto [tx, mailbox] = smarm::channel<smarm::Signal>();
    smarm::register_supervisor_channel(smarm::self_pid(), std::move(tx));
    std::atomic<bool> stop = false;
    std::atomic<long> beats = 0;
    auto neighbour = smarm::spawn_under(smarm::ROOT_PID, [&] {
      for (; !stop; ++beats) smarm::yield_now();
    });
    auto victim = smarm::spawn([&] { under_an_object(fault.make, live); });
    const smarm::Pid pid = victim.pid();
    auto end = victim.join();
    REQUIRE_FALSE(end.has_value());
    CHECK_FALSE(end.error().killed());
    const std::string message = end.error().what();
    CHECK_MESSAGE(message.find(fault.message) == 0, message);
    CHECK_MESSAGE(message.find("abandoned") == std::string::npos, message);
    const bool overflow = message.find("stack overflow") == 0;
    CHECK(end.error().type() == (overflow ? "smarm::StackOverflow" : "smarm::Fault"));
    try {
      std::rethrow_exception(end.error().exception());
    } catch (const smarm::Fault& f) {
      CHECK(f.signal() == fault.signal);
      CHECK((dynamic_cast<const smarm::StackOverflow*>(&f) != nullptr) == overflow);
    }
    auto signal = mailbox.recv_timeout(kPatience);
    REQUIRE(signal.has_value());
    REQUIRE(std::holds_alternative<smarm::Panic>(*signal));
    const auto& panic = std::get<smarm::Panic>(*signal);
    CHECK(panic.pid == pid);
    CHECK(panic.reason == message);
    CHECK(panic.backtrace.size() > 1);
    const long seen = beats;
    CHECK(yield_until([&] { return beats > seen + 10; }));
    stop = true;
    CHECK(neighbour.join());
  });
  CHECK(live == 0);
}

Ended in_child(const smarm::Config& config, std::function<void()> actor) {
  return in_reporting_child([&] {
    smarm::init(config).run([&actor] {
      smarm::SpawnOptions options;
      options.name = "culprit";
      (void)smarm::spawn(options, [&actor] { actor(); }).join();
    });
  });
}

void check_ends_process(const smarm::Config& config, std::function<void()> actor, int signal,
                        const std::vector<std::string>& words) {
  const Ended ended = in_child(config, std::move(actor));
  CHECK(WIFSIGNALED(ended.status));
  CHECK(WTERMSIG(ended.status) == signal);
  for (const std::string& word : words)
    CHECK_MESSAGE(ended.report.find(word) != std::string::npos, word << " in " << ended.report);
}

smarm::Config two() { return smarm::Config::exact(2); }

}  // namespace

TEST_SUITE("public fault") {
  FAULT_CASE("a fault is a Panic of its actor, and nobody else hears of it") {
    for_each_worker_count([](unsigned workers) {
      for (const Fault& fault : kFaults) check_panics(fault, smarm::Config::exact(workers));
    });
  }

  FAULT_CASE("a stack overflow is a Panic with the high-water mark") {
    for_each_worker_count([](unsigned workers) {
      for (std::size_t kib : {64, 512}) {
        for (const Fault& fault : kOverflows)
          check_panics(fault, smarm::Config::exact(workers).stack_size(kib * 1024));
      }
    });
  }

  FAULT_CASE("on a stack too small to be unwound the actor is abandoned") {
    for (std::size_t kib : {16u, 32u}) {
      run_with(two().stack_size(std::size_t{64} * 1024), [kib] {
        smarm::SpawnOptions options;
        options.stack_size = kib * 1024;
        auto end = smarm::spawn(options, [] { deep(0); }).join();
        REQUIRE_FALSE(end.has_value());
        const std::string message = end.error().what();
        CHECK(message.find("stack overflow: used ") == 0);
        CHECK(message.find("abandoned") != std::string::npos);
      });
    }
  }

  FAULT_CASE("a handler may go on after an overflow, again and again") {
    run_at_each_worker_count([] {
      int caught = 0;
      for (int i = 0; i < 200; ++i) {
        try {
          deep(0);
        } catch (const smarm::StackOverflow& e) {
          caught += std::string(e.what()).find("stack size 65536") != std::string::npos;
        }
        smarm::yield_now();
      }
      CHECK(caught == 200);
    });
  }

  FAULT_CASE("in the body of a generator: the generator's stack, the actor's end") {
    run_at_each_worker_count([] {
      std::atomic<int> live = 0;
      for (int round = 0; round < 10; ++round) {
        auto end = smarm::spawn([&live] {
                     const Counted outer(live);
                     auto numbers = smarm::Generator<int>([&live](auto& yield) {
                       const Counted inner(live);
                       yield(1);
                       deep(0);
                     });
                     for (int n : numbers) CHECK(n == 1);
                   }).join();
        REQUIRE_FALSE(end.has_value());
        CHECK(end.error().type() == "smarm::StackOverflow");
      }
      CHECK(live == 0);
    });
  }

  FAULT_CASE("a thousand of each in one process leave nothing behind") {
    run_at_each_worker_count([] {
      for (int i = 0; i < 1000; ++i) {
        auto overflow = smarm::spawn([] { deep(0); });
        auto null = smarm::spawn([] { *null_pointer = 1; });
        REQUIRE_FALSE(overflow.join().has_value());
        REQUIRE_FALSE(null.join().has_value());
      }
      CHECK(smarm::stats().live == 1);
    });
  }

  FAULT_CASE("actors that overflow at once, on every worker") {
    run_at_each_worker_count([] {
      std::vector<smarm::JoinHandle> handles;
      for (int i = 0; i < 200; ++i) handles.push_back(smarm::spawn([] { deep(0); }));
      for (auto& end : smarm::join_all(handles)) CHECK_FALSE(end.has_value());
    });
  }

  FAULT_CASE("a fault while the actor is being unwound for a kill") {
    run_at_each_worker_count([] {
      struct FaultsAtTheEnd {
        ~FaultsAtTheEnd() { *null_pointer = 1; }
      };
      auto victim = smarm::spawn([] {
        const FaultsAtTheEnd faults;
        smarm::park_current();
      });
      CHECK(yield_until_parked(victim.pid()));
      CHECK(smarm::kill(victim.pid()));
      CHECK_FALSE(victim.join().has_value());
    });
  }

  PROCESS_CASE("a wild address ends the process with a report, or by policy the actor") {
    const auto wild = [] { *wild_pointer = 1; };
    check_ends_process(two(), wild, SIGSEGV,
                       {"smarm: SIGSEGV, address 0x123456789000", "\"culprit\"", "rip", "#1"});
    run_with(two().on_fault(smarm::OnFault::panic), [&wild] {
      auto end = smarm::spawn(wild).join();
      REQUIRE_FALSE(end.has_value());
      CHECK(std::string(end.error().what()).find("SIGSEGV: access to address 0x123456789000") == 0);
    });
  }

  PROCESS_CASE("a bus error under each policy") {
    const auto bus = [] {
      std::FILE* empty = std::tmpfile();
      REQUIRE(empty);
      auto* p = static_cast<volatile char*>(
          ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, ::fileno(empty), 0));
      std::fclose(empty);
      escape(reinterpret_cast<void*>(static_cast<long>(*p)));
    };
    check_ends_process(two(), bus, SIGBUS, {"smarm: SIGBUS, address 0x"});
    run_with(two().on_fault(smarm::OnFault::panic), [&bus] {
      auto end = smarm::spawn(bus).join();
      REQUIRE_FALSE(end.has_value());
      CHECK(std::string(end.error().what()).find("SIGBUS: access to address 0x") == 0);
    });
  }

  PROCESS_CASE("abort: every fault but an overflow ends the process") {
    const auto config = two().on_fault(smarm::OnFault::abort);
    for (const Fault& fault : kFaults) {
      CAPTURE(std::string(fault.what));
      check_ends_process(config, fault.make, fault.signal, {"smarm: SIG", "\"culprit\""});
    }
    check_panics(kOverflows[0], config);
  }

  PROCESS_CASE("faults of the program itself, where only plugins' are an actor's") {
    const auto config = two().on_fault(smarm::OnFault::panic_safe, smarm::FaultScope::plugins);
    for (const Fault& fault : kFaults) {
      CAPTURE(std::string(fault.what));
      // Who called nowhere cannot be told.
      if (std::string(fault.message).find("call of") != std::string::npos) continue;
      const Ended ended = in_child(config, fault.make);
      CHECK(WIFSIGNALED(ended.status));
      CHECK(WTERMSIG(ended.status) == fault.signal);
    }
  }

  PROCESS_CASE("a fault in libc is the process's") {
    check_ends_process(two(),
                       [] {
                         char* volatile to = nullptr;
                         std::sprintf(to, "%d", 1);
                       },
                       SIGSEGV, {"smarm: SIGSEGV, address 0x0", "libc.so"});
  }

  PROCESS_CASE("a fault on another thread is the process's, reported and by its signal") {
    check_ends_process(two(),
                       [] { (void)smarm::block_on_io([]() -> int { return *null_pointer; }); },
                       SIGSEGV, {"smarm: SIGSEGV, address 0x0", "no worker"});
    check_ends_process(two(), [] { std::thread([] { std::abort(); }).join(); }, SIGABRT, {});
  }

  PROCESS_CASE("an overflow inside libc does not hang: the actor's end or the process's") {
    const Ended ended = in_child(two(), [] {
      struct Deep {
        static int go(int n) {
          char text[64];
          std::snprintf(text, sizeof text, "%d %f", n, 1.0 * n);
          escape(text);
          return zero ? 0 : go(n + 1) + text[0];
        }
      };
      Deep::go(0);
    });
    if (WIFSIGNALED(ended.status)) {
      CHECK(WTERMSIG(ended.status) == SIGSEGV);
      CHECK(ended.report.find("smarm: SIGSEGV") == 0);
    }
  }

  PROCESS_CASE("a signal that was sent is nobody's fault") {
    check_ends_process(two(), [] { ::raise(SIGSEGV); }, SIGSEGV, {});
    check_ends_process(two(), [] { ::raise(SIGFPE); }, SIGFPE, {});
  }
}
