// The lock of Mutex<T>.
//
// One word, three bits: locked, somebody waits, and one of them is awake. Lock and unlock of a free
// mutex are one compare-exchange each. Waiters queue in order under a spinlock. An unlock normally
// frees the lock and wakes the first waiter, and a running actor may take it first (barging:
// handing a lock to an actor that still has to be scheduled makes all of them wait for the
// scheduler, a convoy); a waiter that has waited for 1 ms is handed the lock and cannot be
// overtaken. (The two modes are those of Go's sync.Mutex.)
//
// 1. kLocked is set exactly while somebody owns the lock, also while it is being handed over.
// 2. kWaiters is set exactly while the list is not empty; both change under the spinlock, except
// kLocked on an unlocked word or a locked one with nobody to wake.
// 3. kAwake: a waiter was woken and has not looked yet. It is still in the list; unlocks meanwhile
// wake nobody. It clears the bit when it looks, under the spinlock: it takes the lock, or goes on
// waiting for an unlock that wakes the first again, or gives up and passes the wake-up on.
// 4. With several workers an actor looks a few times before it queues: the holder may be running.
#pragma once

#include <smarm/smarm.h>

#include "runtime/base/spinlock.hpp"
#include "runtime/sync/channel.hpp"

#include <atomic>
#include <cstdint>

namespace smarm {

class MutexCore {
 public:
  static MutexCore& of(smarm_mutex& m) { return reinterpret_cast<MutexCore&>(m); }

  bool try_lock() {
    std::uint32_t state = state_.load(std::memory_order_relaxed);
    // acquire: pairs with unlock's release.
    return !(state & kLocked) &&
           state_.compare_exchange_strong(state, state | kLocked, std::memory_order_acquire);
  }
  int lock(std::int64_t timeout_ns);  // actor, in a section
  void unlock();                      // any thread

 private:
  static constexpr std::uint32_t kLocked = 1, kWaiters = 2, kAwake = 4;
  static constexpr std::uint64_t kPatience = 1'000'000;

  int lock_slow(Actor& self, std::int64_t timeout_ns);
  bool spin();
  bool take_or_queue(Actor& self, Ticket ticket, bool& queued, std::uint64_t now);
  int give_up(Actor& self, int status);

  std::atomic<std::uint32_t> state_;
  Spinlock spin_;  // rank: mutex waiters
  WaitList waiters_;
};
static_assert(sizeof(MutexCore) <= sizeof(smarm_mutex));

}  // namespace smarm
