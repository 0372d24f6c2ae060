#include "runtime/sched/timers.hpp"

#include "runtime/sched/blocks.hpp"
#include "runtime/sched/runtime_core.hpp"

#include <new>

namespace smarm {

namespace {

void drop_reference(smarm_timer* t) {
  // acq_rel: the last one frees, after everything the other one did.
  if (t->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    free_block(t, sizeof(smarm_timer));
}

}  // namespace

smarm_timer* start_timer(Worker& w, std::int64_t after_ns, void (*fire)(void*), void* arg) {
  void* memory = alloc_block(sizeof(smarm_timer));
  if (!memory) return nullptr;
  auto* t = new (memory) smarm_timer;
  t->fire = fire;
  t->arg = arg;
  t->home = &w;
  t->runtime = w.runtime.number();
  const std::uint64_t deadline = deadline_after(w.runtime.clock().now_ns(), after_ns);
  OptionalLock guard(w.timer_lock, !w.solo);
  w.wheel.arm(*t, deadline);
  return t;
}

void fire_timer(TimerNode& node) {
  auto* t = static_cast<smarm_timer*>(&node);
  t->fire(t->arg);
  drop_reference(t);
}

int cancel_timer(smarm_timer* t) {
  Worker* w = current_worker();
  if (w && w->runtime.number() == t->runtime) {
    const bool cancelled = t->home->cancel_timer(*t);
    if (cancelled && t->references.load(std::memory_order_relaxed) ==
                         2) {  // relaxed: both references are in our hands
      free_block(t, sizeof(smarm_timer));
      return 1;
    }
    drop_reference(t);
    return cancelled;
  }
  // A foreign thread may not touch the wheel of a runtime of one worker; and whether it still lives
  // is known only while the timer is armed. The timer runs.
  detach_timer(t);
  return 0;
}

void detach_timer(smarm_timer* t) { drop_reference(t); }

}  // namespace smarm
