#include "runtime/sync/mutex.hpp"

#include "runtime/sched/park.hpp"

#include <immintrin.h>

#include <mutex>

namespace smarm {

namespace {
constexpr std::uint64_t kHandedOver = ~std::uint64_t{0};  // in Actor::wait_value
constexpr int kSpinRounds = 4, kSpinPauses = 30;          // about 2 us
}  // namespace

// The holder may be running on another worker, and short of its unlock. Few looks with long pauses:
// a look takes the line away from the holder.
bool MutexCore::spin() {
  for (int round = 0; round < kSpinRounds; ++round) {
    for (int i = 0; i < kSpinPauses; ++i) _mm_pause();
    if (try_lock()) return true;
  }
  return false;
}

int MutexCore::lock(std::int64_t timeout_ns) {
  if (try_lock()) return SMARM_OK;
  Actor& self = *current_actor();
  if (self.dying) return SMARM_E_TIMEOUT;
  if (!current_worker()->solo && spin()) return SMARM_OK;
  return lock_slow(self, timeout_ns);
}

// True: the caller owns the lock. Else it is queued with this ticket.
bool MutexCore::take_or_queue(Actor& self, Ticket ticket, bool& queued, std::uint64_t now) {
  std::lock_guard guard(spin_);
  if (queued && self.wait_value.load(std::memory_order_relaxed) == kHandedOver) return true;
  std::uint32_t state = state_.load(std::memory_order_relaxed);
  for (;;) {  // races with try_lock and with unlocks that have nobody to wake
    // A waiter that is back has used its wake-up up.
    const std::uint32_t seen = queued ? state & ~kAwake : state;
    std::uint32_t next = seen | kLocked;
    if (state & kLocked) {
      next = seen | kWaiters;
    } else if (queued && waiters_.front() == &self && !self.wait_next) {
      next = kLocked;  // the last waiter leaves the list
    }
    if (state_.compare_exchange_weak(state, next, std::memory_order_acquire,
                                     std::memory_order_relaxed))
      break;
  }
  if (!(state & kLocked)) {
    if (queued) waiters_.remove(self);
    return true;
  }
  self.wait_value.store(ticket.pack(), std::memory_order_relaxed);
  if (!queued) {
    self.wait_since = now;
    waiters_.append(self);
    queued = true;
  }
  return false;
}

// Leaves the list, unless the lock was handed over meanwhile.
int MutexCore::give_up(Actor& self, int status) {
  bool handed_over;
  Ticket next;
  {
    std::lock_guard guard(spin_);
    handed_over = self.wait_value.load(std::memory_order_relaxed) == kHandedOver;
    if (!handed_over) {
      waiters_.remove(self);
      Actor* front = waiters_.front();
      // The wake-up of the last unlock may have been ours: it goes on to the next, now if the lock
      // is free, else with the next unlock.
      const std::uint32_t before =
          state_.fetch_and(front ? ~kAwake : ~(kAwake | kWaiters), std::memory_order_relaxed);
      if (front && !(before & kLocked)) {
        state_.fetch_or(kAwake, std::memory_order_relaxed);
        next = Ticket::unpack(front->wait_value.load(std::memory_order_relaxed));
      }
    }
  }
  if (!handed_over) {
    wake(next);
    return status;
  }
  if (status == SMARM_E_TIMEOUT) return SMARM_OK;
  unlock();
  return status;
}

int MutexCore::lock_slow(Actor& self, std::int64_t timeout_ns) {
  Clock& clock = current_worker()->runtime.clock();
  const std::uint64_t now = clock.now_ns();
  const std::uint64_t deadline = deadline_after(now, timeout_ns);
  for (bool queued = false;;) {
    const Ticket ticket = begin_wait(self);
    if (take_or_queue(self, ticket, queued, now)) return SMARM_OK;
    switch (wait(self, ticket, WaitKind::lock, deadline)) {
      case Woken::by_ticket: break;
      case Woken::by_time: return give_up(self, SMARM_E_TIMEOUT);
      case Woken::killed: return give_up(self, kKilled);
    }
  }
}

void MutexCore::unlock() {
  // release: pairs with the acquire of the next owner.
  std::uint32_t state = state_.load(std::memory_order_relaxed);
  while (!(state & kWaiters) || (state & kAwake)) {  // nobody to wake, or one is on its way
    if (state_.compare_exchange_weak(state, state & ~kLocked, std::memory_order_release,
                                     std::memory_order_relaxed))
      return;
  }
  Ticket ticket;
  {
    std::lock_guard guard(spin_);
    Actor* first = waiters_.front();
    if (!first) {
      state_.fetch_and(~(kLocked | kWaiters | kAwake), std::memory_order_release);
      return;
    }
    ticket = Ticket::unpack(first->wait_value.load(std::memory_order_relaxed));
    if (SystemClock::instance().now_ns() - first->wait_since >= kPatience) {
      waiters_.remove(*first);
      first->wait_value.store(kHandedOver, std::memory_order_relaxed);
      state_.fetch_and(waiters_.front() ? ~kAwake : ~(kWaiters | kAwake),
                       std::memory_order_relaxed);
    } else {
      // First the mark, then the lock: an unlock in between would wake the same one again.
      state_.fetch_or(kAwake, std::memory_order_relaxed);
      state_.fetch_and(~kLocked, std::memory_order_release);
    }
  }
  wake(ticket);
}

}  // namespace smarm
