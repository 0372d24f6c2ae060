// The crew: who is on duty while some block their threads. runtime_core.hpp has the protocol.

#include "runtime/sched/runtime_core.hpp"

#include <mutex>

namespace smarm {

bool RuntimeCore::go_blocked(Worker& w) {
  const std::lock_guard guard(idle_lock_);
  if (w.duty.load(std::memory_order_relaxed) != Worker::Duty::on) return false;
  w.duty.store(Worker::Duty::blocked, std::memory_order_relaxed);
  blocked_.fetch_add(1, std::memory_order_relaxed);
  strained_.store(true, std::memory_order_relaxed);
  return true;
}

// It works again. One extra worker is then too many: those that have nothing to do are told so, the
// others find out by themselves.
void RuntimeCore::come_back(Worker& w) {
  bool kick = false;
  {
    const std::lock_guard guard(idle_lock_);
    if (w.duty.load(std::memory_order_relaxed) != Worker::Duty::blocked) return;
    w.duty.store(Worker::Duty::on, std::memory_order_relaxed);
    blocked_.fetch_sub(1, std::memory_order_relaxed);
    if (!surplus()) return;
    for (Worker* listed : idle_) {
      if (!listed->extra) continue;
      tell(*listed);
      kick |= listed->in_poller;
    }
  }
  if (kick) poller_->kick();
}

Worker& RuntimeCore::add_extra() {
  auto w = std::make_unique<Worker>(*this, static_cast<std::uint32_t>(workers_.size()), true);
  w->duty.store(Worker::Duty::off, std::memory_order_relaxed);
  Worker& added = *w;
  workers_.add(std::move(w));
  return added;
}

bool RuntimeCore::go_on_duty(Worker& w) {
  const std::lock_guard guard(idle_lock_);
  if (!short_handed()) return false;  // no more
  if (config_.workers == 1) solo_.store(false, std::memory_order_relaxed);
  w.duty.store(Worker::Duty::on, std::memory_order_relaxed);
  crew_.fetch_add(1, std::memory_order_seq_cst);
  return true;
}

// Gives away what it has queued; what it has preempted stays. On w, in a section, between two
// actors.
void RuntimeCore::hand_over(Worker& w) {
  bool any = false;
  const auto give = [&](Actor* a) {
    if (a) inject_.push(a);
    any |= a != nullptr;
    return a != nullptr;
  };
  while (give(w.ready.pop())) {
  }
  while (give(w.fresh.steal())) {
  }
  // A read-modify-write: the queue's size before it, as in post().
  if (any && idle_count_.fetch_add(0, std::memory_order_seq_cst) > 0) wake_one();
}

// An extra worker that found no work of its own goes off duty, when there are enough without it.
bool RuntimeCore::go_off_duty(Worker& w) {
  if (!surplus()) return false;
  hand_over(w);
  if (!w.pinned.empty()) return false;
  {
    const std::lock_guard guard(idle_lock_);
    if (!surplus()) return false;
    if (w.duty.load(std::memory_order_relaxed) == Worker::Duty::blocked)  // the monitor is late
      blocked_.fetch_sub(1, std::memory_order_relaxed);
    w.duty.store(Worker::Duty::off, std::memory_order_relaxed);
    crew_.fetch_sub(1, std::memory_order_seq_cst);
  }
  w.deputy = false;
  w.quiet_naps = 0;
  if (!w.wheel.empty()) poller_->kick();  // its sleep may be longer than a timer that stays here
  wake_one();  // it may have been the last that was not idle: somebody has to judge quiescence
  return true;
}

// On w, in a section, from maintain(): for those who cannot look after themselves. Actors of a
// blocked worker do not wait until somebody has nothing else to do.
void RuntimeCore::stand_in(Worker& w, std::uint64_t now) {
  for (const auto& other : workers_) {
    const Worker::Duty duty = other->duty.load(std::memory_order_relaxed);
    if (other.get() == &w || duty == Worker::Duty::on) continue;
    if (!other->wheel.empty() && other->next_timer_ns() <= now) other->fire_due_timers(w, now);
    if (duty == Worker::Duty::blocked) take_from_blocked(w, *other);
  }
  if (w.extra && surplus()) hand_over(w);
}

void RuntimeCore::take_from_blocked(Worker& w, Worker& blocked) {
  std::uint32_t stolen = 0;
  if (w.ready.has_room_for_half()) {
    Actor* first = w.ready.steal_from(blocked.ready, true, stolen);
    if (!first) first = w.ready.steal_overflow(blocked.ready, stolen);
    if (first) w.ready.push(first);
  }
  while (Actor* a = blocked.fresh.steal()) {
    inject_.push(a);
    ++stolen;
  }
  w.counters.steals.add(stolen);
  if (stolen > 1 && idle_count_.load(std::memory_order_relaxed) > 0) wake_one();
}

// On w's scheduler, with nothing left to finish.
void RuntimeCore::settle(Worker& w) {
  if (w.extra) {
    if (surplus()) hand_over(w);
  } else if (w.detour) {
    become_solo(w);
  }
}

// The one worker of a runtime is alone again when the extra ones are off duty and have left it
// nothing to do: then only it looks at its queues, and nobody goes on duty before it has blocked
// again, which it does not while it is here.
void RuntimeCore::become_solo(Worker& w) {
  const auto alone = [&] {
    return crew_.load(std::memory_order_relaxed) == 1 &&
           blocked_.load(std::memory_order_relaxed) == 0;
  };
  if (!alone()) return;
  const std::lock_guard guard(idle_lock_);
  if (!alone()) return;
  for (const auto& other : workers_) {
    if (other.get() != &w && !other->wheel.empty()) return;
  }
  w.take_back();
  solo_.store(true, std::memory_order_relaxed);
  strained_.store(false, std::memory_order_relaxed);
}

void RuntimeCore::muster() {
  const std::lock_guard guard(idle_lock_);
  for (const auto& w : workers_) {
    w->duty.store(w->extra ? Worker::Duty::off : Worker::Duty::on, std::memory_order_relaxed);
    w->take_back();
  }
  solo_.store(config_.workers == 1, std::memory_order_relaxed);
  crew_.store(config_.workers, std::memory_order_relaxed);
  blocked_.store(0, std::memory_order_relaxed);
  strained_.store(false, std::memory_order_relaxed);
}

}  // namespace smarm
