// Waiting: how the primitives above put the calling actor to sleep and wake it.
//
// A wait goes:  Ticket t = begin_wait(self);  register t where a waker will find it;  look once
// more at the condition;  end_in = wait(...);  look again. Every wait is a loop over its condition:
// a wake-up says "look", not "it is so". All of it runs in a section; a killed wait returns
// Woken::killed, its caller withdraws what it registered, leaves the section and calls
// unwind_self().
#pragma once

#include "runtime/actor/actor.hpp"
#include "runtime/sched/runtime_core.hpp"
#include "runtime/sched/worker.hpp"

#include <cstdint>

namespace smarm {

inline constexpr int kKilled = -1000;  // internal status: leave the section, then unwind_self()

inline Actor* current_actor() {
  Worker* w = current_worker();
  return w ? w->current.get() : nullptr;
}

inline bool kill_pending(const Actor& self) {
  return (self.word.load(std::memory_order_relaxed) & state_word::kKill) && !self.dying;
}

// The right to end the wait that the actor is about to begin.
inline Ticket begin_wait(Actor& self) {
  std::uint64_t word = self.word.load(std::memory_order_relaxed);
  // A waker of an earlier, withdrawn wait may have left its mark. It has used that wait's number
  // up, so the new ticket differs.
  while (word & state_word::kWoken) {
    if (self.word.compare_exchange_weak(word, word & ~state_word::kWoken, std::memory_order_acq_rel,
                                        std::memory_order_relaxed))
      word &= ~state_word::kWoken;
  }
  return {self, word};
}

// Sleeps until the ticket is used or the time is reached (kNever: no limit). deadline in the
// runtime clock's nanoseconds.
enum class Woken : std::uint8_t { by_ticket, by_time, killed };
Woken wait_until(Actor& self, Ticket ticket, WaitKind kind, std::uint64_t deadline_ns);
inline Woken wait(Actor& self, Ticket ticket, WaitKind kind, std::uint64_t deadline_ns) {
  if (deadline_ns != kNever) return wait_until(self, ticket, kind, deadline_ns);
  const std::uint64_t word = self.word.load(std::memory_order_acquire);
  if (word & state_word::kKill) [[unlikely]]
    return Woken::killed;
  if (!ticket.valid_in(word)) return Woken::by_ticket;  // before it began
  Worker* w = current_worker();
  self.waits_for.store(kind, std::memory_order_relaxed);
  w->counters.parks.add();
  w->leave<Worker::After::publish_wait>();
  return kill_pending(self) ? Woken::killed : Woken::by_ticket;
}
// The same with a number of its own: no ticket of an earlier wait, withdrawn before it slept, can
// end this one.
Ticket begin_own_wait(Actor& self);
// The same for a wait that cannot be withdrawn: a kill waits until it has ended.
Ticket begin_held_wait(Actor& self);
void wait_held(Actor& self, Ticket ticket, WaitKind kind);

// Ends a wait from anywhere: directly on a worker of the actor's runtime, by command elsewhere.
void wake(Ticket ticket);

int park_current_actor(Actor& self);
[[gnu::always_inline]] inline void yield_current_actor(Worker& w) {
  w.counters.yields.add();
  w.leave<Worker::After::queue>();
}
int sleep_current_actor(Actor& self, std::int64_t ns);

// From any thread, by pid. SMARM_OK or SMARM_E_STALE.
int unpark_pid(smarm_pid pid);
int kill_pid(smarm_pid pid);
// On a worker of the actor's runtime.
void unpark_local(Worker& w, Actor& a, std::uint32_t generation);
void kill_local(Worker& w, Actor& a, std::uint32_t generation);

// Outside a section, on the actor's own stack.
[[noreturn]] void unwind_self();
// The actor was asked to unwind and has run for a quantum more, without a tick. It cannot unwind
// from where it is; when this has gone on for long it is abandoned.
void overran_kill(Actor& self);

// Runs fn(worker) on a worker of `a`'s runtime, at once when this is one. False when the actor of
// that generation has ended.
struct ActorCall {
  smarm_pid pid;
  void (*fn)(Worker&, Actor&, std::uint32_t generation);
};
bool call_on_runtime(ActorCall call);

}  // namespace smarm
