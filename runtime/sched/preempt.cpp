#include "runtime/sched/preempt.hpp"

#include "runtime/base/clock.hpp"
#include "runtime/sched/accounts.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/runtime_core.hpp"
#include "runtime/sched/worker.hpp"

#include <cerrno>
#include <limits>

namespace smarm {

namespace {

// Has the current actor run for a timeslice? Starts its clock at the first look of a turn.
bool slice_used_up(Worker& w) {
  const std::uint64_t now = read_tsc();
  if (w.slice_start == 0) {
    w.slice_start = now;
    return false;
  }
  return now - w.slice_start >= w.runtime.timeslice_cycles.load(std::memory_order_relaxed);
}

enum class Preemption : std::uint8_t { at_tick, by_signal };

void add_one(std::atomic<std::uint32_t>& count) {
  const std::uint32_t n = count.load(std::memory_order_relaxed);
  if (n != std::numeric_limits<std::uint32_t>::max()) count.store(n + 1, std::memory_order_relaxed);
}

void count(Worker& w, Preemption kind) {
  Actor& self = *w.current;
  Account& account = account_of(self.group.load(std::memory_order_relaxed));
  if (kind == Preemption::at_tick) {
    w.counters.preempted_alloc.add();
    add_one(self.preempted_alloc);
    account.preempted_alloc.fetch_add(1, std::memory_order_relaxed);
  } else {
    w.counters.preempted_async.add();
    add_one(self.preempted_async);
    account.preempted_async.fetch_add(1, std::memory_order_relaxed);
  }
}

// Lets the others run; the actor comes back on this thread.
void yield_implicitly(Worker& w, Preemption kind = Preemption::at_tick) {
  const int saved_errno = errno;
  {
    ++w.in_runtime;
    w.ticks_left = 1;  // about a timeslice has passed: timers and IO are due for a look
    count(w, kind);
    w.let_pass();
    w.leave<Worker::After::pin>();
    --w.in_runtime;  // the same worker: it was pinned
  }
  errno = saved_errno;
}

}  // namespace

void tick_slow() noexcept {
  Worker* w = current_worker();
  if (!w) {
    smarm_tls_countdown = std::numeric_limits<std::int32_t>::max();  // no actor will ever run here
                                                                     // before a worker resets it
    return;
  }
  smarm_tls_countdown =
      static_cast<std::int32_t>(w->runtime.alloc_interval.load(std::memory_order_relaxed));
  if (!preemptible(*w)) {
    if (w->slice_start == Worker::kOverdue) smarm_tls_countdown = 1;  // the request stands
  } else if (slice_used_up(*w)) {
    yield_implicitly(*w);
  }
}

void give_way() noexcept {
  Worker* w = current_worker();
  if (w && preemptible(*w)) yield_implicitly(*w);
}

void yield_at_next_tick(Worker& w) noexcept {
  w.slice_start = Worker::kOverdue;
  smarm_tls_countdown = 1;
}

extern "C" void smarm_preempted() noexcept {
  Worker& w = *current_worker();
  yield_implicitly(w, Preemption::by_signal);
  Actor& self = *w.current;
  // Also while it unwinds: a destructor may loop.
  if (self.word.load(std::memory_order_relaxed) & state_word::kKill) overran_kill(self);
}

bool Retries::let_others_run() noexcept {
  const std::uint64_t before = worker_.counters.resumes.get();
  yield_implicitly(worker_);
  // Turns go round: each of those who retry has had one. Any more were somebody else's.
  return worker_.counters.resumes.get() - before > worker_.retrying;
}

void no_preempt_enter() noexcept {
  if (Actor* a = current_actor()) ++a->no_preempt;
}

void no_preempt_leave() noexcept {
  Actor* a = current_actor();
  if (a && a->no_preempt != 0) --a->no_preempt;
}

bool safe_point() noexcept {
  Worker* w = current_worker();
  if (!w || w->in_runtime != 0 || !w->current) return false;
  if (kill_pending(*w->current)) return true;
  if (w->current->no_preempt == 0 && slice_used_up(*w)) {
    w->slice_start = 0;
    yield_implicitly(*w);
    return kill_pending(*current_actor());
  }
  return false;
}

}  // namespace smarm
