// The least room that an allocation finds on an actor's stack.
//
// An overflow inside malloc cannot be unwound: it would leave an arena locked. So operator new
// looks first, and has the actor end there while there is room to do it.
#pragma once

#include "runtime/sched/worker.hpp"

#include <cstddef>

namespace smarm {

inline constexpr std::ptrdiff_t kLeastRoom = 2048;

// Whether less is left on the current actor's own stack; false on any other, and in a section of
// the runtime. (In its red zone the difference is negative: an unwinding that allocates has all
// that is left.)
inline bool short_of_stack(std::ptrdiff_t room = kLeastRoom) noexcept {
  const Worker* w = current_worker();
  if (!w) return false;
  const Actor* a = w->current;
  if (!a) return false;
  const char* here;
  asm volatile("movq %%rsp, %0" : "=r"(here));  // no frame pointer for this alone
  return static_cast<std::size_t>(here - a->stack.bottom()) < static_cast<std::size_t>(room) &&
         w->in_runtime == 0;
}

// For who is short: does not come back, unless nothing was set.
[[gnu::noinline, gnu::cold]] void out_of_stack();
// What it calls. Before the first runtime is made.
void set_out_of_stack(void (*raise)());

}  // namespace smarm
