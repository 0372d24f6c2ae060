// Context: a suspended flow of control on a stack of its own. The primitives under everything else:
// start on a new stack, switch, leave for good.
//
// Threads: a context may be suspended on one OS thread and resumed on another. So no caller may
// keep an address of a thread_local (or errno) across switch_context. The sanitizers are told of
// every switch; in ordinary builds a context is one pointer.
#pragma once

#include "runtime/base/sanitizer.hpp"

#include <cstddef>
#include <cstdint>

#if SMARM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if SMARM_TSAN
#include <sanitizer/tsan_interface.h>
#endif

extern "C" {
void smarm_switch(void** save_sp, void* load_sp);
[[noreturn]] void smarm_leave(void* load_sp);
void smarm_stack_start();
}

namespace smarm {

// A suspended stack from its sp upwards; switch.S pushes and pops exactly this.
struct SavedFrame {
  std::uint32_t mxcsr;
  std::uint16_t x87_control;
  std::uint16_t fresh;  // 1: nothing has run on this stack yet; smarm_stack_start takes r12 and r13
  void *r15, *r14, *r13, *r12, *rbx, *rbp;
  void (*return_address)();
};
static_assert(offsetof(SavedFrame, x87_control) == 4 && offsetof(SavedFrame, r15) == 8 &&
              offsetof(SavedFrame, r12) == 32);
static_assert(offsetof(SavedFrame, return_address) == 56 && sizeof(SavedFrame) == 64);

struct Context {
  void* sp = nullptr;
#if SMARM_ASAN
  void* fake_stack = nullptr;
  const void* stack_bottom = nullptr;
  std::size_t stack_size = 0;
#endif
#if SMARM_TSAN
  void* fiber = nullptr;
#endif
};

// Prepares `context` so that resuming it calls fn(arg) on the stack that ends at `top` (16-byte
// aligned; `bottom` is its lowest usable byte). The first thing fn does must be entered_context().
// fn returns the sp of the context that goes on, its own stack being dead then; or it never returns
// and ends by leave_context(), as it must under the sanitizers, which want to be told first.
void make_context(Context& context, void* bottom, void* top, void* (*fn)(void*), void* arg);
// Describes the calling thread's own stack, so that others can switch back to it.
void adopt_thread(Context& context);
// Gives back what the sanitizers hold for a context that will not be resumed.
inline void forget_context([[maybe_unused]] Context& context) {
#if SMARM_TSAN
  if (context.fiber) __tsan_destroy_fiber(context.fiber);
  context.fiber = nullptr;
#endif
}

// Bookkeeping on the new stack, right after a switch to a fresh context or back to an old one.
inline void entered_context([[maybe_unused]] Context* self) {
#if SMARM_ASAN
  __sanitizer_finish_switch_fiber(self ? self->fake_stack : nullptr, nullptr, nullptr);
#endif
}

inline void switch_context(Context& from, Context& to) {
#if SMARM_ASAN
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack_bottom, to.stack_size);
#endif
#if SMARM_TSAN
  __tsan_switch_to_fiber(to.fiber, 0);
#endif
  smarm_switch(&from.sp, to.sp);
  entered_context(&from);
}

// The caller's stack is dead after this: who runs next frees it.
[[noreturn]] inline void leave_context(Context& to) {
#if SMARM_ASAN
  __sanitizer_start_switch_fiber(nullptr, to.stack_bottom, to.stack_size);
#endif
#if SMARM_TSAN
  __tsan_switch_to_fiber(to.fiber, 0);
#endif
  smarm_leave(to.sp);
}

}  // namespace smarm
