// abort and __assert_fail are interposed: the executable defines the names, plugins bind to them.
// What the runtime itself, or libc inside itself, aborts for still ends the process.

#include "runtime/fault/abort.hpp"

#include "runtime/base/sanitizer.hpp"
#include "runtime/fault/raise.hpp"
#include "runtime/fault/report.hpp"
#include "runtime/fault/text.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/runtime_core.hpp"

#include <smarm/config.hpp>

#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>

namespace smarm {

namespace {

using AbortFunction = void (*)();
using AssertFunction = void (*)(const char*, const char*, unsigned, const char*);
AbortFunction libc_abort;
AssertFunction libc_assert_fail;

// Whether the caller at that address is an actor whose abort is its own end. The policy that ends
// the process has it reported first.
bool is_panic(const void* caller) {
  Worker* w = current_worker();
  if (SMARM_ASAN || !w || w->in_runtime != 0 || !w->current) return false;
  const smarm_config& config = w->runtime.config();
  const bool plugins_only = config.fault_scope == SMARM_FAULTS_OF_PLUGINS;
  if (text_at(reinterpret_cast<std::uintptr_t>(caller) - 1, plugins_only) != Text::user)
    return false;
  if (static_cast<OnFault>(config.on_fault) != OnFault::abort) return true;
  report_fault(SIGABRT, nullptr, caller, nullptr);
  return false;
}

}  // namespace

void learn_abort() {
  libc_abort = reinterpret_cast<AbortFunction>(::dlsym(RTLD_NEXT, "abort"));
  libc_assert_fail = reinterpret_cast<AssertFunction>(::dlsym(RTLD_NEXT, "__assert_fail"));
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
  if (!libc_abort) learn_abort();
  if (libc_abort) libc_abort();
  ::_exit(127);
}

void smarm_own_assert_fail(const char* assertion, const char* file, unsigned line,
                           const char* function) {
  if (is_panic(__builtin_return_address(0))) {
    char text[256];
    std::snprintf(text, sizeof text, "assertion failed: %s (%s:%u, %s)", assertion, file, line,
                  function ? function : "?");
    raise_here(FaultCause::assertion, SIGABRT, text);
  }
  if (!libc_assert_fail) learn_abort();
  if (libc_assert_fail) libc_assert_fail(assertion, file, line, function);
  ::_exit(127);
}
