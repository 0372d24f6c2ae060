// Faults at an address. One kind is mended and the access repeated: a stack that hibernates is
// thawed for whoever reaches into it, from whatever thread. All others go to the handler that was
// there before, or end the process as if there were none.
//
// In a signal handler: only what is async-signal-safe, and nothing of the interrupted actor.

#include "runtime/base/assert.hpp"
#include "runtime/context/frozen_stack.hpp"
#include "runtime/fault/install.hpp"

#include <signal.h>
#include <ucontext.h>

#include <cerrno>

namespace smarm {

namespace {

struct sigaction process_action;

enum class Fault { of_hibernation, of_others };

// A stack is mended by being asked about: what is whole when the question is answered was frozen
// when the access failed. A jump into a stack is never mended: it has no permission to run there.
Fault classify(const siginfo_t& info, const ucontext_t& at) {
  constexpr greg_t kInstructionFetch = 16;  // bits of the page fault's error code
  constexpr greg_t kProtectionKey = 32;
  const bool by_address = info.si_code == SEGV_MAPERR || info.si_code == SEGV_ACCERR;
  if (!by_address || at.uc_mcontext.gregs[REG_ERR] & (kInstructionFetch | kProtectionKey))
    return Fault::of_others;
  return thaw_frozen_at(info.si_addr) ? Fault::of_hibernation : Fault::of_others;
}

void pass_on(int signal, siginfo_t* info, void* context) {
  if (process_action.sa_flags & SA_SIGINFO) {
    process_action.sa_sigaction(signal, info, context);
  } else if (process_action.sa_handler != SIG_DFL && process_action.sa_handler != SIG_IGN) {
    process_action.sa_handler(signal);
  } else {
    // What raised it is repeated when this handler returns; one that was sent is sent again.
    struct sigaction by_default{};
    by_default.sa_handler = SIG_DFL;
    ::sigaction(signal, &by_default, nullptr);
    if (info->si_code <= 0) ::raise(signal);
  }
}

void on_fault(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  if (classify(*info, *static_cast<const ucontext_t*>(context)) == Fault::of_others)
    pass_on(signal, info, context);
  errno = saved_errno;
}

}  // namespace

void install_memory_fault_handler() {
  static const bool done = [] {
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;  // a chained handler may fault or jump
    // In process_action before a fault can come: asked for first, then set.
    SMARM_ASSERT(::sigaction(SIGSEGV, nullptr, &process_action) == 0);
    SMARM_ASSERT(::sigaction(SIGSEGV, &action, nullptr) == 0);
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace smarm
