// exit, quick_exit, _exit and _Exit are interposed, as abort is: of an actor they are its panic, of
// a plugin's own thread that thread's end. So are pthread_exit and thrd_exit, for actors. The host
// ends the process as ever, and so does any child process.
//
// Not seen: the system call itself, and functions of libraries that end the process inside libc
// (err, error). The latter still run the exit handlers, and the first of them reports the actor.

#include "runtime/fault/exit.hpp"
#include "runtime/base/next_definition.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/fault/abort.hpp"
#include "runtime/fault/contain.hpp"
#include "runtime/fault/culprit.hpp"
#include "runtime/fault/raise.hpp"
#include "runtime/fault/report.hpp"
#include "runtime/sched/blocking_job.hpp"
#include "runtime/sched/park.hpp"

#include <smarm/config.hpp>

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace smarm {

namespace {

using ExitFunction = void (*)(int);
constinit Next<ExitFunction> libc_exit("exit");
constinit Next<ExitFunction> libc_quick_exit("quick_exit");
// They would end the worker that the actor runs on.
constinit Next<void (*)(void*)> libc_pthread_exit("pthread_exit");
constinit Next<ExitFunction> libc_thrd_exit("thrd_exit");

// Children that are not exec'd yet, and signal handlers, end by it: no libc is needed. A
// sanitizer has its own last words.
[[noreturn]] void end_at_once(int status) {
  if constexpr (SMARM_ASAN || SMARM_TSAN) {
    static constinit Next<ExitFunction> sanitizer_exit("_exit");
    sanitizer_exit(status);
  }
  for (;;) ::syscall(SYS_exit_group, status);
}

// Comes back when the process may end, or the thread.
void look_at(const char* did, const void* caller, bool ends_process = true) {
  if (!SMARM_ASAN && called_by_actor(caller)) {
    char place[192], text[256];
    describe_place(static_cast<const char*>(caller) - 1, place, sizeof place);
    std::snprintf(text, sizeof text, "%s in %s", did, place);
    if (static_cast<OnFault>(current_worker()->runtime.config().on_fault) == OnFault::abort) {
      report_end(text, caller);
      abort_process();
    }
    raise_here(FaultCause::told, 0, text);
  }
  if (called_by_plugin(caller) && (ends_process || current_job())) contain(did, caller, true);
}
void look_at(const char* name, int status, const void* caller) {
  char did[48];
  std::snprintf(did, sizeof did, "called %s(%d)", name, status);
  look_at(did, caller);
}

// relaxed: read by the thread that wrote it.
std::atomic<bool> by_our_leave{false};

// Runs after the handlers of plugins, which are registered later.
void at_exit() {
  if (by_our_leave.load(std::memory_order_relaxed) || !is_host() || !current_actor() ||
      current_worker()->in_runtime != 0)
    return;
  report_end("a library function ended the process for an actor", nullptr);
  abort_process();
}

}  // namespace

void learn_exit() {
  libc_exit.function();
  libc_quick_exit.function();
  libc_pthread_exit.function();
  libc_thrd_exit.function();
}

void watch_exit() {
  static const bool done = std::atexit(at_exit) == 0;
  static_cast<void>(done);
}

}  // namespace smarm

using namespace smarm;

extern "C" {
// Under names of their own: the headers declare them to throw nothing.
__attribute__((visibility("default"), noreturn)) void smarm_own_exit(int) asm("exit");
__attribute__((visibility("default"), noreturn)) void smarm_own_quick_exit(int) asm("quick_exit");
__attribute__((visibility("default"), noreturn)) void smarm_own__exit(int) asm("_exit");
__attribute__((visibility("default"), noreturn)) void smarm_own__Exit(int) asm("_Exit");

__attribute__((visibility("default"), noreturn)) void smarm_own_pthread_exit(void*) asm(
    "pthread_exit");
__attribute__((visibility("default"), noreturn)) void smarm_own_thrd_exit(int) asm("thrd_exit");

void smarm_own_pthread_exit(void* result) {
  look_at("called pthread_exit", __builtin_return_address(0), false);
  libc_pthread_exit(result);
  __builtin_unreachable();
}
void smarm_own_thrd_exit(int result) {
  look_at("called thrd_exit", __builtin_return_address(0), false);
  libc_thrd_exit(result);
  __builtin_unreachable();
}
void smarm_own_exit(int status) {
  look_at("exit", status, __builtin_return_address(0));
  by_our_leave.store(true, std::memory_order_relaxed);
  libc_exit(status);
  __builtin_unreachable();
}
void smarm_own_quick_exit(int status) {
  look_at("quick_exit", status, __builtin_return_address(0));
  libc_quick_exit(status);
  __builtin_unreachable();
}
void smarm_own__exit(int status) {
  look_at("_exit", status, __builtin_return_address(0));
  end_at_once(status);
}
void smarm_own__Exit(int status) {
  look_at("_Exit", status, __builtin_return_address(0));
  end_at_once(status);
}
}
