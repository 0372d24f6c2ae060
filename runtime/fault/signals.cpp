// The handler of SIGSEGV, SIGBUS, SIGFPE and SIGILL.
//
// What a fault is, is told apart from what is done about it. A stack that hibernates is thawed for
// whoever reaches into it, and code that may not be unwound is given more stack; the access is then
// repeated. A fault of an actor's own code becomes an exception: the handler returns to a
// trampoline in place of the instruction that failed. All others go to the handler that was there
// before, or end the process with a report.
//
// In a signal handler: only what is async-signal-safe, and nothing of the interrupted code.

#include "runtime/base/assert.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/base/valgrind.hpp"
#include "runtime/context/frozen_stack.hpp"
#include "runtime/context/red_zone.hpp"
#include "runtime/fault/abort.hpp"
#include "runtime/fault/exit.hpp"
#include "runtime/fault/install.hpp"
#include "runtime/fault/raise.hpp"
#include "runtime/fault/report.hpp"
#include "runtime/fault/signal_guard.hpp"
#include "runtime/fault/text.hpp"
#include "runtime/sched/runtime_core.hpp"
#include "runtime/sched/stack_room.hpp"

#include <smarm/config.hpp>

#include <signal.h>
#include <ucontext.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>

namespace smarm {

namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
std::array<struct sigaction, std::size(kSignals)> process_actions;

constexpr greg_t kInstructionFetch = 16;  // bits of the page fault's error code
constexpr greg_t kProtectionKey = 32;
constexpr std::uintptr_t kNullZone =
    64 * 1024;                           // what a null pointer's members and elements are in
constexpr std::uintptr_t kProbe = 4096;  // how far below rsp a function may touch its stack

// A fault as the handler finds it.
struct Met {
  int signal;
  const siginfo_t& info;
  ucontext_t& at;

  std::uintptr_t reg(int r) const { return static_cast<std::uintptr_t>(at.uc_mcontext.gregs[r]); }
  std::uintptr_t address() const { return reinterpret_cast<std::uintptr_t>(info.si_addr); }
  bool by_address() const {  // si_addr says where
    return signal == SIGSEGV && (info.si_code == SEGV_MAPERR || info.si_code == SEGV_ACCERR);
  }
  bool fetching() const { return reg(REG_ERR) & kInstructionFetch; }
};

enum class Action : std::uint8_t { repeat, raise, pass_on };

struct Verdict {
  Action action = Action::pass_on;
  FaultCause cause = FaultCause::signal;
};

// The flow that touched the guard of its own stack: the slot that its sp is in, or, after a frame
// larger than the guard, its actor's.
Stack overflown(const Met& m, const Actor* self) {
  if (!m.by_address() || m.fetching() || m.address() + kProbe < m.reg(REG_RSP)) return {};
  const Stack stack = stack_at(m.info.si_addr);
  if (!stack || m.info.si_addr >= stack.bottom()) return {};
  const Stack of_sp = stack_at(reinterpret_cast<const void*>(m.reg(REG_RSP)));
  const bool own = of_sp.base == stack.base || (self && self->stack.base == stack.base);
  return own ? stack : Stack{};
}

// Lets code go on that may not be unwound: libc with a lock held, the runtime in a section.
bool give_room(const Stack& stack, const void* address) {
  char* const third = red_third(stack);
  return address >= red_bottom(stack) &&
         open_red_zone(stack,
                       address >= third && third != stack.bottom() ? third : red_bottom(stack));
}

// By the policy alone.
bool may_raise(const Met& m, OnFault policy) {
  if (policy != OnFault::panic_safe) return policy == OnFault::panic;
  if (m.signal == SIGFPE || m.signal == SIGILL) return true;
  return m.by_address() && m.address() < kNullZone;
}

Verdict judge(const Met& m) {
  // A stack is mended by being asked about: what is whole when the question is answered was frozen
  // when the access failed. A jump into a stack is never mended: it may not run there.
  if (m.by_address() && !(m.reg(REG_ERR) & (kInstructionFetch | kProtectionKey)) &&
      thaw_frozen_at(m.info.si_addr))
    return {Action::repeat};
  const Worker* w = current_worker();
  if (SMARM_ASAN || !w || m.info.si_code <= 0) return {};
  const auto& config = w->runtime.config();
  const bool plugins_only = config.fault_scope == SMARM_FAULTS_OF_PLUGINS;
  const bool called = m.by_address() && m.fetching() && m.address() == m.reg(REG_RIP);
  const auto* pushed = reinterpret_cast<const std::uintptr_t*>(m.reg(REG_RSP));
  if (!stack_at(pushed)) return {};  // whose rsp is lost is not unwound
  // Of a call to nowhere the return address is known. It need not be in the code that called: that
  // may have jumped, as its last act. Outside a section the runtime calls nobody but user code.
  const Text text = called ? (text_at(*pushed - 1, false) == Text::host ? Text::host : Text::user)
                           : text_at(m.reg(REG_RIP), plugins_only);
  const Actor* self = w->in_runtime == 0 ? w->current.get() : nullptr;
  if (const Stack stack = overflown(m, self)) {
    if (self && text == Text::user) return {Action::raise, FaultCause::overflow};
    if (give_room(stack, m.info.si_addr)) {
      fail_on_return(stack, plugins_only);
      return {Action::repeat};
    }
    // libgcc has no room left to unwind in: it holds nothing that others wait for.
    if (self && text == Text::unwinder) return {Action::raise, FaultCause::overflow};
    return {};
  }
  if (!self || text != Text::user || !may_raise(m, static_cast<OnFault>(config.on_fault)))
    return {};
  return {Action::raise, called ? FaultCause::call : FaultCause::signal};
}

// Has the handler return to the trampoline.
void redirect(const Met& m, FaultCause cause) {
  const std::uintptr_t sp = m.reg(REG_RSP);
  auto* const at = reinterpret_cast<char*>(sp);
  // A frame larger than the guard has left its own stack altogether.
  const bool astray =
      cause == FaultCause::overflow && stack_at(at).base != stack_at(m.info.si_addr).base;
  const Ground ground = find_ground(*current_worker(), astray ? nullptr : at);
  constexpr std::uintptr_t kRedZone = 128;  // below rsp, the ABI's: the interrupted code's own
  auto* frame = reinterpret_cast<FaultFrame*>(
      (reinterpret_cast<std::uintptr_t>(ground.sp) - kRedZone - sizeof(FaultFrame)) &
      ~std::uintptr_t{15});
  valgrind_may_write(frame, sizeof *frame);
  constexpr int kByDwarf[16] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};
  for (int r = 0; r < 16; ++r) frame->registers[r] = m.reg(kByDwarf[r]);
  frame->ip = m.reg(REG_RIP);
  if (cause == FaultCause::call) {
    frame->ip = *reinterpret_cast<const std::uintptr_t*>(sp) - 1;
    frame->registers[FaultFrame::rsp] = sp + 8;
  }
  frame->cause = cause;
  frame->signal = m.signal;
  frame->address = m.address();
  frame->abandon = ground.abandon;
  m.at.uc_mcontext.gregs[REG_RSP] = m.at.uc_mcontext.gregs[REG_RDI] =
      static_cast<greg_t>(reinterpret_cast<std::uintptr_t>(frame));
  m.at.uc_mcontext.gregs[REG_RIP] =
      static_cast<greg_t>(reinterpret_cast<std::uintptr_t>(&smarm_fault_trampoline));
}

void end_process(const Met& m) {
  if (m.info.si_code > 0)
    report_fault(m.signal, m.info.si_addr, reinterpret_cast<const void*>(m.reg(REG_RIP)), &m.at);
  // What raised it is repeated when this handler returns; one that was sent is sent again.
  struct sigaction by_default{};
  by_default.sa_handler = SIG_DFL;
  set_action(m.signal, &by_default, nullptr);
  if (m.info.si_code <= 0) ::raise(m.signal);
}

void pass_on(const Met& m, siginfo_t* info, void* context) {
  std::size_t i = 0;
  while (kSignals[i] != m.signal) ++i;
  const struct sigaction& before = process_actions[i];
  if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(m.signal, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(m.signal);
  } else {
    end_process(m);
  }
}

void on_fault(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const Met met{signal, *info, *static_cast<ucontext_t*>(context)};
  const Verdict verdict = judge(met);
  switch (verdict.action) {
    case Action::repeat: break;
    case Action::raise: redirect(met, verdict.cause); break;
    case Action::pass_on: pass_on(met, info, context); break;
  }
  errno = saved_errno;
}

}  // namespace

void install_fault_handlers() {
  static const bool done = [] {
    learn_text();
    valgrind_may_read(nullptr, kNullZone);  // such an access is an actor's panic, no finding
    learn_abort();
    learn_exit();
    learn_signals();
    if (!SMARM_ASAN) set_out_of_stack([] { raise_here(FaultCause::overflow, SIGSEGV, nullptr); });
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;  // a chained handler may fault or jump
    for (std::size_t i = 0; i < (SMARM_ASAN ? 1 : std::size(kSignals)); ++i) {
      // In process_actions before a fault can come: asked for first, then set.
      SMARM_ASSERT(::sigaction(kSignals[i], nullptr, &process_actions[i]) == 0);
      SMARM_ASSERT(::sigaction(kSignals[i], &action, nullptr) == 0);
    }
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace smarm
