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

// Makes an actor and queues it on the worker. nullptr: a limit, last_error() says which; the
// closure stays the caller's. The block is kept for a handle.
Actor* spawn_on(Worker& w, const SpawnRequest& request);

// The trampoline: catches everything that the entry throws. arg is the Actor.
void actor_main(void* arg);

// Ends an actor that never had a stack.
void fail_unstarted(Actor& a, Worker& w, const char* reason);
// Leaves a stack that swallows its kill: it is never resumed and never freed.
[[noreturn]] void abandon_self(Actor& self);

// The joiner's or the dropped handle's side of Actor::join. In a section.
void detach_actor(Actor& a);
int join_actor(Actor& self, Actor& target, smarm_exit** exit);

// Called for each actor that ends, on its worker, in a section, before anybody can see its end.
// Upper floors add theirs before the first runtime is made.
using ExitHook = void (*)(Actor& a, const smarm_exit* exit, Worker& w);
void add_exit_hook(ExitHook hook);

// Extras are made on demand by the actor itself or a thread that keeps it alive. nullptr: no
// memory.
ActorExtras* extras_of(Actor& a);

}  // namespace smarm
