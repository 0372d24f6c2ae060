// Preemption by the allocator: every alloc_interval-th tick reads the TSC, and an actor that has
// used its timeslice up yields there, implicitly.
//
// A tick is an allocation with operator new, a core call, or smarm_tick(). An implicit yield
// resumes on the same OS thread, so that code which knows nothing of it may hold a thread_local's
// address across an allocation. None happens in a section of the runtime or while the actor's
// no_preempt count is above 0: NoPreempt, a held lock of pthreads or C11, a static initialisation,
// pthread_once. An actor that meets such a lock taken yields implicitly too: pthread_locks.cpp.
#pragma once

#include "runtime/sched/worker.hpp"

namespace smarm {

// Out of line: the countdown of this thread has run out.
[[gnu::noinline]] void tick_slow() noexcept;

inline void tick() noexcept {
  if (--smarm_tls_countdown <= 0) [[unlikely]]
    tick_slow();
}

// May the calling worker's actor yield implicitly?
inline bool preemptible(const Worker& w) noexcept {
  return w.in_runtime == 0 && w.current && w.current->no_preempt == 0;
}

// An implicit yield now, where one is allowed: the caller is far ahead of somebody who could run.
void give_way() noexcept;

// Both for the monitor's signal. The first in its handler: the actor cannot be stopped where it is.
// The second in place of the actor's next instruction, on its stack; what it needs is saved.
void yield_at_next_tick(Worker& w) noexcept;
extern "C" void smarm_preempted() noexcept;

// Lives while an actor tries again and again for something of which nobody will tell it. It yields
// between two tries, and so comes back to the same worker.
class Retries {
 public:
  explicit Retries(Worker& preemptible) noexcept : worker_(preemptible) { ++worker_.retrying; }
  ~Retries() { --worker_.retrying; }
  Retries(const Retries&) = delete;
  Retries& operator=(const Retries&) = delete;

  // An implicit yield. False when nobody here had anything to do but to retry as well.
  bool let_others_run() noexcept;

 private:
  Worker& worker_;
};

// The count of the calling actor; nothing on other threads.
void no_preempt_enter() noexcept;
void no_preempt_leave() noexcept;

// An explicit safe-point. True when the actor has to unwind: call unwind_self().
bool safe_point() noexcept;

}  // namespace smarm
