// A coroutine: the stack under a Generator.
//
// It is resumed and suspends; the two sides alternate, so it needs no synchronisation. Inside an
// actor the body may park: the actor's context is then saved on the coroutine's stack, and goes on
// there on whatever worker resumes it. A kill unwinds the body first and then its consumer.
#pragma once

#include "runtime/context/context.hpp"
#include "runtime/context/eh_state.hpp"
#include "runtime/context/stack_pool.hpp"

#include <smarm/smarm.h>

struct smarm_coroutine {
  enum class State : unsigned char { fresh, suspended, running, ended };

  smarm::Context body{};
  smarm::Context consumer{};
  smarm::EhState eh{};
  smarm::Stack stack{};
  void (*entry)(void*, smarm_coroutine*) = nullptr;
  void* arg = nullptr;
  State state = State::fresh;
  bool unwinding = false;  // dropped half-way
  bool at_base = false;    // the unwinding has reached its end
  bool killed = false;     // the body was unwound because its actor is killed
};

namespace smarm {

smarm_coroutine* create_coroutine(void (*entry)(void*, smarm_coroutine*), void* arg);
int resume_coroutine(smarm_coroutine& c);
void suspend_coroutine(smarm_coroutine& c);
void destroy_coroutine(smarm_coroutine* c);

}  // namespace smarm
