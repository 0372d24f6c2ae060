// abort and __assert_fail are interposed: the executable defines the names, plugins bind to them.
// What the runtime itself, or libc inside itself, aborts for still ends the process.

#include "runtime/fault/abort.hpp"

#include "runtime/base/next_definition.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/fault/contain.hpp"
#include "runtime/fault/culprit.hpp"
#include "runtime/fault/raise.hpp"
#include "runtime/fault/report.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/runtime_core.hpp"

#include <smarm/config.hpp>

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>

namespace smarm {

namespace {

using AssertFunction = void (*)(const char*, const char*, unsigned, const char*);
constinit Next<void (*)()> libc_abort("abort");
constinit Next<AssertFunction> libc_assert_fail("__assert_fail");

// Whether the caller at that address is an actor whose abort is its own end. The policy that ends
// the process has it reported first.
bool is_panic(const void* caller) {
  if (SMARM_ASAN || !called_by_actor(caller)) return false;
  if (static_cast<OnFault>(current_worker()->runtime.config().on_fault) != OnFault::abort)
    return true;
  report_fault(SIGABRT, nullptr, caller, nullptr);
  return false;
}

}  // namespace

void learn_abort() {
  libc_abort.function();
  libc_assert_fail.function();
}

void abort_process() {
  if (libc_abort.function()) libc_abort();
  for (;;) ::syscall(SYS_exit_group, 127);
}

}  // namespace smarm

using namespace smarm;

// Under names of their own: the headers declare both to throw nothing.
extern "C" __attribute__((visibility("default"), noreturn)) void smarm_own_abort() asm("abort");
extern "C" __attribute__((visibility("default"), noreturn)) void smarm_own_assert_fail(
    const char* assertion, const char* file, unsigned line,
    const char* function) asm("__assert_fail");

void smarm_own_abort() {
  const void* caller = __builtin_return_address(0);
  if (is_panic(caller)) raise_here(FaultCause::abort, SIGABRT, caller);
  if (called_by_plugin(caller) && !current_actor()) contain("called abort()", caller, false);
  abort_process();
}

void smarm_own_assert_fail(const char* assertion, const char* file, unsigned line,
                           const char* function) {
  const void* caller = __builtin_return_address(0);
  char text[256];
  std::snprintf(text, sizeof text, "assertion failed: %s (%s:%u, %s)", assertion, file, line,
                function ? function : "?");
  if (is_panic(caller)) raise_here(FaultCause::told, SIGABRT, text);
  if (called_by_plugin(caller) && !current_actor()) contain(text, caller, false);
  if (libc_assert_fail.function()) libc_assert_fail(assertion, file, line, function);
  abort_process();
}
