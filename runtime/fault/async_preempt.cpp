// The handler of SIGURG, which the monitor sends to a worker whose actor has run for too long.
//
// The actor is stopped where it is only if that is certain to be code of its own: no section of the
// runtime, no interposed lock held that others of its worker may want, and an instruction in the
// text of the program or a plugin, not in a system library, which may hold locks that nobody
// counts. The one exception is memcpy and its like, called from there. All else is asked to yield
// at its next tick. (The signal is Go's choice, for Go's reasons: nobody uses it, and it is ignored
// by default.)

#include "runtime/fault/async_preempt.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/context/red_zone.hpp"
#include "runtime/fault/text.hpp"
#include "runtime/sched/preempt.hpp"
#include "runtime/sched/runtime_core.hpp"

#include <cpuid.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include <cerrno>
#include <cstdint>

extern "C" {
void smarm_preempt_trampoline();
// Bytes that xsavec64 writes at most.
[[gnu::visibility("hidden")]] constinit std::uint64_t smarm_xsave_size = 0;
}

namespace smarm {

namespace {

constexpr std::uintptr_t kRedZone = 128;
constexpr std::uintptr_t kRegisters = 8 + 16 * 8 + 64;  // the trampoline's, with alignment
constexpr std::uintptr_t kScheduler = 4096;             // what a switch and its maintenance may use

bool has_room(const char* sp) {
  const Stack stack = stack_at(sp);
  if (!stack) return false;
  const std::uintptr_t need = kRedZone + kRegisters + smarm_xsave_size + kScheduler;
  return sp >= stack.bottom() && static_cast<std::uintptr_t>(sp - stack.bottom()) >= need;
}

bool is_own_text(std::uintptr_t pc, bool plugins_only) {
  return text_at(pc, plugins_only) == Text::user && !in_system_library(pc);
}

// The interrupted function, and who called it.
struct Leaf {
  std::uintptr_t pc;
  bool plugins_only;
  bool reached = false, own = false;
};

_Unwind_Reason_Code look(_Unwind_Context* context, void* arg) {
  auto& leaf = *static_cast<Leaf*>(arg);
  const std::uintptr_t ip = _Unwind_GetIP(context);
  if (leaf.reached) {
    leaf.own = is_own_text(ip - 1, leaf.plugins_only);
    return _URC_END_OF_STACK;
  }
  if (ip != leaf.pc) return _URC_NO_REASON;  // the handler's
  leaf.reached = true;
  return is_pure_function(_Unwind_GetRegionStart(context)) ? _URC_NO_REASON : _URC_END_OF_STACK;
}

// Copies, say, 100 MB, in libc but for the actor's own code. (From within libc the same function
// may be called under a lock.)
bool in_pure_call(std::uintptr_t pc, bool plugins_only) {
  if (text_at(pc, plugins_only) != Text::host) return false;
  Leaf leaf{pc, plugins_only};
  _Unwind_Backtrace(look, &leaf);
  return leaf.own;
}

bool may_stop(const Worker& w, const mcontext_t& at) {
  if (w.current->no_preempt != 0) return false;
  const bool plugins_only = w.runtime.config().fault_scope == SMARM_FAULTS_OF_PLUGINS;
  const auto pc = static_cast<std::uintptr_t>(at.gregs[REG_RIP]);
  return has_room(reinterpret_cast<const char*>(at.gregs[REG_RSP])) &&
         (is_own_text(pc, plugins_only) || in_pure_call(pc, plugins_only));
}

// The monitor's, of a runtime that has one.
bool is_ours(const siginfo_t& info, const Worker& w) {
  return info.si_code == SI_TKILL && info.si_pid == ::getpid() &&
         w.runtime.monitor().quantum_ns() != 0;
}

void on_preempt(int, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  Worker* w = current_worker();
  if (w && w->in_runtime == 0 && w->current && is_ours(*info, *w)) {
    mcontext_t& at = static_cast<ucontext_t*>(context)->uc_mcontext;
    if (may_stop(*w, at)) {
      auto* sp = reinterpret_cast<std::uintptr_t*>(at.gregs[REG_RSP] - kRedZone) - 1;
      *sp = static_cast<std::uintptr_t>(at.gregs[REG_RIP]);
      at.gregs[REG_RSP] = reinterpret_cast<greg_t>(sp);
      at.gregs[REG_RIP] = reinterpret_cast<greg_t>(&smarm_preempt_trampoline);
    } else {
      yield_at_next_tick(*w);
    }
  }
  errno = saved_errno;
}

}  // namespace

bool can_preempt_asynchronously() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kXsavec = 1u << 1;
  if (!__builtin_cpu_supports("avx") || !__get_cpuid_count(0xd, 1, &a, &b, &c, &d) ||
      !(a & kXsavec)) {
    set_last_error("this processor has no XSAVEC: actors cannot be preempted by signal");
    return false;
  }
  smarm_xsave_size = b;
  return true;
}

void install_async_preemption() {
  static const bool done = [] {
    struct sigaction action{};
    action.sa_sigaction = on_preempt;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    SMARM_ASSERT(::sigaction(SIGURG, &action, nullptr) == 0);
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace smarm
