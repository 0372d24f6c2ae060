// The life of an actor: spawn, first frame, end.
#pragma once

#include "runtime/actor/actor.hpp"
#include "runtime/actor/exit_record.hpp"
#include "runtime/sched/worker.hpp"

namespace smarm {

struct SpawnRequest {
  smarm_entry entry = nullptr;
  void* closure = nullptr;
  smarm_pid supervisor{};
  std::uint64_t group = 0;
  std::uint8_t stack_class = 0;
};

// Makes an actor; the caller queues it with Worker::enqueue_fresh. nullptr: a limit, last_error()
// says which; the closure stays the caller's. The block is kept for a handle.
Actor* make_actor(Worker& w, const SpawnRequest& request);
// Makes and queues.
inline Actor* spawn_on(Worker& w, const SpawnRequest& request) {
  Actor* a = make_actor(w, request);
  if (a) w.enqueue_fresh(a);
  return a;
}

// The trampoline: catches everything that the entry throws. arg is the Actor; returns the sp of who
// goes on.
void* actor_main(void* arg);

// Ends an actor that never had a stack.
void fail_unstarted(Actor& a, Worker& w, const char* reason);
// Leaves a stack that cannot be unwound: it is never resumed and never freed.
[[noreturn]] void abandon_self(Actor& self, smarm_exit* exit);

// The joiner's or the dropped handle's side of Actor::join. In a section.
void detach_actor(Actor& a);
int join_actor(Actor& self, Actor& target, smarm_exit** exit);

// What upper floors do when an actor ends, on its worker, in a section. Set before the first
// runtime is made.
struct ExitHooks {
  // Before anybody can see the end.
  void (*ending)(Actor& a, const smarm_exit* exit) = nullptr;
  // The pid is stale from now on; it was marked with kMailbox.
  void (*left_mailbox)(smarm_pid pid) = nullptr;
};
void set_exit_hooks(ExitHooks hooks);

// Extras are made on demand by the actor itself or a thread that keeps it alive. nullptr: no
// memory.
ActorExtras* extras_of(Actor& a);
ThrowTrace* throw_trace_of(Actor& self);  // likewise; of the calling actor

}  // namespace smarm
