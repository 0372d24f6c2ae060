// Where an exception was thrown: __cxa_throw is interposed, so that every throw of the program and
// its plugins leaves its return addresses with the actor. The trampoline attaches them to the
// panic. (What escapes an actor is seen only after the stack is unwound; a backtrace then would
// show the trampoline.) A throw without the room for its unwinding is a stack overflow instead.

#include "runtime/fault/throw_trace.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/fault/install.hpp"
#include "runtime/fault/raise.hpp"
#include "runtime/sched/actor_main.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/stack_room.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <signal.h>
#include <unwind.h>

#include <iterator>
#include <typeinfo>

namespace smarm {

namespace {

struct Frames {
  void** out;
  std::size_t count, capacity;
  std::size_t skip;
};

_Unwind_Reason_Code keep_frame(_Unwind_Context* context, void* arg) {
  auto& f = *static_cast<Frames*>(arg);
  if (f.skip > 0) {
    --f.skip;
    return _URC_NO_REASON;
  }
  if (f.count == f.capacity) return _URC_END_OF_STACK;
  f.out[f.count++] = reinterpret_cast<void*>(_Unwind_GetIP(context));
  return _URC_NO_REASON;
}

[[gnu::noinline]] void record_throw() {
  Worker* w = current_worker();
  if (!w || !w->current || w->in_runtime != 0) return;
  ++w->in_runtime;  // the extras may be allocated: no preemption inside a throw
  if (ThrowTrace* trace = throw_trace_of(*w->current)) {
    Frames frames{trace->frames, 0, std::size(trace->frames), 2};
    _Unwind_Backtrace(keep_frame, &frames);
    trace->count = frames.count;
  }
  --w->in_runtime;
}

}  // namespace

ThrowFunction real_throw() {
  static const auto found = reinterpret_cast<ThrowFunction>(::dlsym(RTLD_NEXT, "__cxa_throw"));
  return found;
}

// Linked in by the facade: an archive member that nobody names would be dropped.
void install_throw_trace() { SMARM_ASSERT(real_throw()); }

}  // namespace smarm

// Under a name of its own: the compiler has declared __cxa_throw already, with other types.
extern "C" __attribute__((visibility("default"), noreturn)) void smarm_cxa_throw(
    void* exception, std::type_info* type, void (*destructor)(void*)) asm("__cxa_throw");

void smarm_cxa_throw(void* exception, std::type_info* type, void (*destructor)(void*)) {
  // The unwinder would meet the end of the stack half-way.
  if (!SMARM_ASAN && smarm::short_of_stack(smarm::kUnwindRoom)) {
    if (destructor) destructor(exception);
    abi::__cxa_free_exception(exception);
    smarm::raise_here(smarm::FaultCause::overflow, SIGSEGV, nullptr);
  }
  smarm::record_throw();
  smarm::real_throw()(exception, type, destructor);
  __builtin_unreachable();
}
