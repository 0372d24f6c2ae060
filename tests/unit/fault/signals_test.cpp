// The handler of faults: what it mends and what it passes on.
#include "runtime/base/valgrind.hpp"
#include "runtime/context/frozen_stack.hpp"
#include "runtime/fault/install.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <thread>
#include <vector>

namespace {

using namespace smarm;

// In a child, since it ends there. The exit status, or minus the signal.
template <class F>
int in_child(F f) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(60);
    ::_exit(f());
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

volatile char* volatile wild = reinterpret_cast<volatile char*>(64);

void by_default() { std::signal(SIGSEGV, SIG_DFL); }  // a sanitizer has its own

struct Frozen {
  StackPool pool;
  Stack stack{};
  char* sp = nullptr;
  FrozenStack* record = nullptr;
  explicit Frozen(GuardKind kind) : pool(kind) {
    REQUIRE(can_freeze_stacks());
    REQUIRE(pool.acquire(2, &stack, 1) == 1);
    sp = stack.top() - 800;
    std::memset(sp, 5, 800);
    StackToFreeze one{stack, sp, stack.top(), nullptr, nullptr};
    freeze_stacks({&one, 1});
    record = one.frozen;
    REQUIRE(record);
  }
  ~Frozen() {
    if (record) thaw_stack(record);
    pool.release(&stack, 1);
  }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;
};

TEST_SUITE("fault signals") {
  TEST_CASE("a handler that was there before gets what is none of ours") {
    CHECK(in_child([] {
            struct sigaction mine{};
            mine.sa_flags = SA_SIGINFO;
            mine.sa_sigaction = [](int, siginfo_t* info, void*) {
              ::_exit(info->si_addr == reinterpret_cast<void*>(64) ? 42 : 1);
            };
            ::sigaction(SIGSEGV, &mine, nullptr);
            install_fault_handlers();
            *wild = 1;
            return 0;
          }) == 42);
  }

  TEST_CASE("without one the process ends by the signal, sent or raised by an access") {
    for (int how : {0, 1, 2}) {
      if (how == 2 && SMARM_VALGRIND) continue;  // it does not say that code was fetched
      CAPTURE(how);
      CHECK(in_child([how] {
              by_default();
              install_fault_handlers();
              if (how == 0) *wild = 1;
              if (how == 1) ::raise(SIGSEGV);
              if (how == 2) {  // a jump into a stack is none that can be mended
                Frozen frozen(GuardKind::automatic);
                reinterpret_cast<void (*)()>(frozen.sp)();
              }
              return 0;
            }) == -SIGSEGV);
    }
  }

  TEST_CASE("a frozen stack is mended for reads and writes, whole or being thawed by another") {
    install_fault_handlers();
    for (GuardKind kind : {GuardKind::automatic, GuardKind::protect}) {
      for (int round = 0; round < 200; ++round) {
        Frozen frozen(kind);
        std::vector<std::thread> strangers;
        int wrong[3] = {};
        for (int t = 0; t < 3; ++t) {
          strangers.emplace_back([&, t] {
            volatile char* at = frozen.sp + 100 * t;
            for (int i = 0; i < 100; ++i) wrong[t] += at[i] != 5;
            at[t] = 6;
          });
        }
        for (std::thread& s : strangers) s.join();
        CHECK(wrong[0] + wrong[1] + wrong[2] == 0);
        thaw_stack(frozen.record);
        frozen.record = nullptr;
        CHECK(frozen.sp[0] == 6);
        CHECK(frozen.sp[101] == 6);
        CHECK(frozen.sp[202] == 6);
      }
    }
    CHECK(frozen_stacks() == 0);
  }

  TEST_CASE("a forked child thaws its own copy") {
    install_fault_handlers();
    for (GuardKind kind : {GuardKind::automatic, GuardKind::protect}) {
      Frozen frozen(kind);
      CHECK(in_child([&] {
              int sum = 0;
              for (int i = 0; i < 800; ++i) sum += frozen.sp[i];
              frozen.sp[3] = 9;
              return sum == 4000 ? 7 : 0;
            }) == 7);
      CHECK(frozen.sp[3] == 5);
    }
  }
}

}  // namespace
