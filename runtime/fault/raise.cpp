// Throwing in place of an instruction that failed.
//
// The compiler wrote its tables for the places where it saw that something may be thrown. A frame
// whose current place is in none of them ends in std::terminate, and so does a noexcept function.
// So before anything is thrown each frame outwards is asked, by its own personality routine in
// search mode: the unwinding begins at the caller of the outermost frame that would terminate. The
// objects of the frames that are passed over are lost, all others are destroyed. Where no handler
// is to be had, the actor is abandoned.

#include "runtime/fault/raise.hpp"

#include "runtime/actor/exit_record.hpp"
#include "runtime/base/assert.hpp"
#include "runtime/base/valgrind.hpp"
#include "runtime/context/red_zone.hpp"
#include "runtime/fault/culprit.hpp"
#include "runtime/fault/text.hpp"
#include "runtime/fault/throw_trace.hpp"
#include "runtime/sched/actor_main.hpp"
#include "runtime/sched/park.hpp"

#include <smarm/fault.hpp>

#include <cxxabi.h>
#include <signal.h>
#include <string.h>
#include <unwind.h>

#include <cstdio>
#include <exception>
#include <iterator>
#include <new>

// Part of the C++ ABI; in no header.
extern "C" _Unwind_Reason_Code __gxx_personality_v0(int version, _Unwind_Action actions,
                                                    _Unwind_Exception_Class exception_class,
                                                    _Unwind_Exception* exception,
                                                    _Unwind_Context* context);

namespace smarm {

namespace {

// ---- what happened, in words ----

// That was overflown: by its guard, or, when the guard was not met, by who is on it.
Stack stack_of(const FaultFrame& f) {
  const Stack stack =
      stack_at(reinterpret_cast<const void*>(f.address ? f.address : f.registers[FaultFrame::rsp]));
  return stack ? stack : current_actor()->stack;
}

void describe(const FaultFrame& f, char* out, std::size_t size) {
  const void* pc = reinterpret_cast<const void*>(f.ip);
  char place[192];
  switch (f.cause) {
    case FaultCause::overflow: {
      const Stack stack = stack_of(f);
      const auto top = reinterpret_cast<std::uint64_t>(stack.top());
      const std::uint64_t sp = f.registers[FaultFrame::rsp];
      const std::uint64_t lowest = f.address && f.address < sp ? f.address : sp;
      std::snprintf(out, size,
                    "stack overflow: used %zu of %zu bytes of stack at high water, stack size %zu",
                    static_cast<std::size_t>(top - lowest),
                    static_cast<std::size_t>(stack.top() - stack.bottom()), stack.slot_size());
      return;
    }
    case FaultCause::told:
      std::snprintf(out, size, "%s", reinterpret_cast<const char*>(f.address));
      return;
    case FaultCause::abort:
      describe_place(reinterpret_cast<const char*>(f.address) - 1, place, sizeof place);
      std::snprintf(out, size, "abort() was called in %s", place);
      return;
    case FaultCause::call:
    case FaultCause::signal: break;
  }
  describe_place(pc, place, sizeof place);
  const char* name = ::sigabbrev_np(f.signal);
  if (f.cause == FaultCause::call) {
    std::snprintf(out, size, "SIG%s: call of address 0x%llx in %s", name,
                  static_cast<unsigned long long>(f.address), place);
  } else if (f.signal == SIGSEGV || f.signal == SIGBUS) {
    std::snprintf(out, size, "SIG%s: access to address 0x%llx in %s", name,
                  static_cast<unsigned long long>(f.address), place);
  } else {
    std::snprintf(out, size, "SIG%s (%s) in %s", name,
                  f.signal == SIGFPE ? "arithmetic" : "illegal instruction", place);
  }
}

// ---- the exception ----

// The handler that let it go is above the stack's bottom again.
void mend_own_guard() {
  const auto* here = static_cast<const char*>(__builtin_frame_address(0));
  const Stack stack = stack_at(here);
  if (stack && here - stack.bottom() > 1024) mend_guard(stack);
}

template <class E>
void destroy(void* object) {
  static_cast<E*>(object)->~E();
  mend_own_guard();
}

// An exception object that is made but not thrown.
struct Throwable {
  void* object = nullptr;
  std::type_info* type = nullptr;
  void (*destructor)(void*) = nullptr;

  _Unwind_Exception* header() const { return static_cast<_Unwind_Exception*>(object) - 1; }
  [[noreturn]] void raise() const {
    real_throw()(object, type, destructor);
    __builtin_unreachable();
  }
};

template <class E>
Throwable make(const char* text, const FaultFrame& f) {
  Throwable t;
  t.object = abi::__cxa_allocate_exception(sizeof(E));
  t.type = const_cast<std::type_info*>(&typeid(E));
  t.destructor = destroy<E>;
  new (t.object) E(text, f.signal, reinterpret_cast<const void*>(f.address),
                   reinterpret_cast<const void*>(f.ip));
  abi::__cxa_init_primary_exception(t.object, t.type, t.destructor);
  return t;
}

// ---- where it may be thrown ----

// What a personality routine that stops the search has found, by the ABI's layout of the exception
// object: the address of the handler, nullptr when it would call std::terminate.
const void* handler_found(const _Unwind_Exception* header) {
  return reinterpret_cast<void* const*>(header)[-2];
}

struct Search {
  FaultFrame& from;
  _Unwind_Exception* exception;
  void** frames;  // the backtrace
  std::size_t frame_count, capacity;
  bool reached = false;     // past the runtime's own frames
  bool gap = false;         // the frame before would terminate
  bool in_user = false;     // past the first frame that is not the runtime's
  bool in_runtime = false;  // past one of the runtime again: it called back
  bool restarts = false;
  bool caught = false;
  FaultFrame restart{};
};

_Unwind_Reason_Code look(_Unwind_Context* context, void* arg) {
  auto& s = *static_cast<Search*>(arg);
  int exact = 0;
  const std::uintptr_t ip = _Unwind_GetIPInfo(context, &exact);
  const std::uintptr_t sp = _Unwind_GetCFA(context);
  if (!s.reached && (ip != s.from.ip || sp != s.from.registers[FaultFrame::rsp]))
    return _URC_NO_REASON;
  s.reached = true;
  if (s.gap) {
    using enum FaultFrame::Register;
    for (int r : {rbx, rbp, r12, r13, r14, r15}) s.restart.registers[r] = _Unwind_GetGR(context, r);
    s.restart.registers[rsp] = sp;
    s.restart.ip = exact ? ip : ip - 1;  // inside the call
    s.restarts = true;
    s.gap = false;
  }
  const bool runtime = text_at(ip, false) == Text::runtime;
  s.in_runtime |= s.in_user && runtime;
  s.in_user |= !runtime;
  // As if it were a return address, which is what readers take it for. Of the runtime's own frames
  // those are left out that only led here: abort, operator new without room.
  if (s.in_user && s.frame_count < s.capacity)
    s.frames[s.frame_count++] = reinterpret_cast<void*>(ip + (exact ? 1 : 0));
  if (!_Unwind_GetLanguageSpecificData(context)) return _URC_NO_REASON;
  if (__gxx_personality_v0(1, _UA_SEARCH_PHASE, s.exception->exception_class, s.exception,
                           context) != _URC_HANDLER_FOUND)
    return _URC_NO_REASON;
  s.caught = handler_found(s.exception) != nullptr;
  s.gap = !s.caught;
  // A section of the runtime's that was passed over would stay open.
  return s.caught || s.in_runtime ? _URC_END_OF_STACK : _URC_NO_REASON;
}

}  // namespace

Ground find_ground(const Worker& w, char* sp) noexcept {
  const Stack stack = stack_at(sp);
  if (stack && sp > stack.bottom() + kUnwindRoom) return {sp};
  if (stack && sp > red_bottom(stack) + kUnwindRoom && open_red_zone(stack, red_bottom(stack)))
    return {sp};
  return {static_cast<char*>(w.scheduler.sp), true};
}

namespace {

struct Divert {
  const Stack& stack;
  bool plugins_only;
};

_Unwind_Reason_Code divert(_Unwind_Context* context, void* arg) {
  const auto& d = *static_cast<const Divert*>(arg);
  auto* const sp = reinterpret_cast<std::uintptr_t*>(_Unwind_GetCFA(context));
  const std::uintptr_t ip = _Unwind_GetIP(context);
  const char* at = reinterpret_cast<const char*>(sp);
  if (at < d.stack.base || at >= d.stack.top()) return _URC_NO_REASON;  // the handler's
  if (text_at(ip - 1, d.plugins_only) != Text::user) return _URC_NO_REASON;
  if (sp[-1] == ip) {
    exchange_torn_word(d.stack, ip);
    sp[-1] = reinterpret_cast<std::uintptr_t>(&smarm_diverted_return);
  }
  return _URC_END_OF_STACK;
}

}  // namespace

void fail_on_return(const Stack& stack, bool plugins_only) noexcept {
  Divert d{stack, plugins_only};
  _Unwind_Backtrace(divert, &d);
}

void raise_here(FaultCause cause, int signal, const void* address) {
  const Ground ground =
      find_ground(*current_worker(), static_cast<char*>(__builtin_frame_address(0)));
  smarm_fault_here(cause, signal, address, ground.abandon ? ground.sp : nullptr);
}

}  // namespace smarm

using namespace smarm;

extern "C" FaultFrame* smarm_diverted(FaultFrame* frame) {
  auto* sp = reinterpret_cast<char*>(frame->registers[FaultFrame::rsp]);
  frame->ip = exchange_torn_word(stack_at(sp), 0) - 1;
  frame->cause = FaultCause::overflow;
  frame->signal = SIGSEGV;
  frame->address = 0;
  const Ground ground = find_ground(*current_worker(), sp);
  frame->abandon = ground.abandon;
  if (!ground.abandon) return frame;
  // On the scheduler's stack, of which nothing is in use below its sp.
  auto* elsewhere = reinterpret_cast<FaultFrame*>(
      (reinterpret_cast<std::uintptr_t>(ground.sp) - sizeof(FaultFrame)) & ~std::uintptr_t{15});
  valgrind_may_write(elsewhere, sizeof *elsewhere);
  *elsewhere = *frame;
  return elsewhere;
}

void smarm_raise_fault(FaultFrame* frame) {
  Worker* w = current_worker();
  SMARM_ASSERT(w->current);
  Actor& self = *w->current;
  ++w->in_runtime;  // no tick here switches, and a fault here is the runtime's
  char text[256];
  describe(*frame, text, sizeof text);
  const Throwable fault = frame->cause == FaultCause::overflow ? make<StackOverflow>(text, *frame)
                                                               : make<Fault>(text, *frame);
  void* nowhere[1];
  ThrowTrace* trace = throw_trace_of(self);
  Search search{*frame, fault.header(), trace ? trace->frames : nowhere, 0,
                trace ? std::size(trace->frames) : 0};
  _Unwind_Backtrace(look, &search);
  if (trace) trace->count = search.frame_count;
  if (search.caught && !frame->abandon) {
    if (search.restarts) {
      for (int r = 0; r < 16; ++r) frame->registers[r] = search.restart.registers[r];
      frame->ip = search.restart.ip;
    }
    --w->in_runtime;
    fault.raise();
  }
  smarm_exit* exit = nullptr;
  try {
    fault.raise();
  } catch (...) {
    exit = make_panic_record(self.pid());
  }
  if (exit) exit->message += " (abandoned: its stack cannot be unwound and is lost)";
  --w->in_runtime;
  abandon_self(self, exit);
}
