#include "runtime/sync/mutex.hpp"

#include "runtime/sched/park.hpp"

#include <mutex>

namespace smarm {

namespace {
constexpr std::uint64_t kHandedOver = ~std::uint64_t{0};  // in Actor::wait_value
}

int MutexCore::lock(std::int64_t timeout_ns) {
  if (try_lock()) return SMARM_OK;
  Actor& self = *current_actor();
  if (self.dying) return SMARM_E_TIMEOUT;
  return lock_slow(self, timeout_ns);
}

// True: the caller owns the lock. Else it is queued with this ticket.
bool MutexCore::take_or_queue(Actor& self, Ticket ticket, bool& queued, std::uint64_t now) {
  std::lock_guard guard(spin_);
  if (queued && self.wait_value == kHandedOver) return true;
  std::uint32_t state = state_.load(std::memory_order_relaxed);
  for (;;) {  // races with try_lock and with an unlock that saw no waiters
    std::uint32_t next = state | kLocked;
    if (state & kLocked) {
      next = state | kWaiters;
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
  self.wait_value = ticket.pack();
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
    handed_over = self.wait_value == kHandedOver;
    if (!handed_over) {
      waiters_.remove(self);
      if (!waiters_.front()) {
        state_.fetch_and(~kWaiters, std::memory_order_relaxed);
      } else if (!(state_.load(std::memory_order_relaxed) & kLocked)) {
        next =
            Ticket::unpack(waiters_.front()->wait_value);  // the wake-up of the last unlock may
                                                           // have been ours: it goes on to the next
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
  std::uint32_t state = kLocked;
  // release: pairs with the acquire of the next owner.
  if (state_.compare_exchange_strong(state, 0, std::memory_order_release,
                                     std::memory_order_relaxed))
    return;
  Ticket ticket;
  {
    std::lock_guard guard(spin_);
    Actor* first = waiters_.front();
    if (!first) {
      state_.fetch_and(~(kLocked | kWaiters), std::memory_order_release);
      return;
    }
    ticket = Ticket::unpack(first->wait_value);
    if (SystemClock::instance().now_ns() - first->wait_since >= kPatience) {
      waiters_.remove(*first);
      first->wait_value = kHandedOver;
      if (!waiters_.front()) state_.fetch_and(~kWaiters, std::memory_order_relaxed);
    } else {
      state_.fetch_and(~kLocked, std::memory_order_release);
    }
  }
  wake(ticket);
}

}  // namespace smarm
