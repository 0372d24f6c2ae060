// A fault becomes an exception of the current actor.
#pragma once

#include "runtime/fault/frame.hpp"
#include "runtime/sched/worker.hpp"

namespace smarm {

// What an unwinding and the making of its exception take of a stack.
inline constexpr std::ptrdiff_t kUnwindRoom = 7 * 1024;

// Where the frame of a fault at `sp` goes: below it, the red zone opened where that is needed, or,
// when the stack has no room to be unwound on, onto the scheduler's, which is idle while an actor
// runs; the actor is then abandoned. Async-signal-safe.
struct Ground {
  char* sp = nullptr;
  bool abandon = false;
};
Ground find_ground(const Worker& w, char* sp) noexcept;

// The innermost function of the interrupted flow that may be unwound, on `stack`, is made to fail
// with a stack overflow as soon as its callee returns. In a signal handler. Nothing happens when
// there is none, or it is so already.
void fail_on_return(const Stack& stack, bool plugins_only) noexcept;

// The calling actor's own fault, outside a section.
[[noreturn]] void raise_here(FaultCause cause, int signal, const void* address);

}  // namespace smarm

extern "C" [[noreturn]] void smarm_raise_fault(smarm::FaultFrame* frame);
