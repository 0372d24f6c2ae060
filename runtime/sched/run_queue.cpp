#include "runtime/sched/run_queue.hpp"

#include <immintrin.h>

namespace smarm {

[[gnu::noinline]] void RunQueue::push_lent(Actor* a) {
  const std::lock_guard guard(overflow_lock_);
  push_over(a);
}

// The ring is empty: moves half a ring over from the overflow. Half, so that pushes and thieves
// find room on both sides. False: that is empty too.
bool RunQueue::refill() {
  if (overflow_size() == 0) {
    room_ = kSize;  // somebody else may have taken the last
    return false;
  }
  const OptionalLock guard(overflow_lock_, lent_);
  std::uint32_t tail = tail_.load(std::memory_order_relaxed);
  const std::uint32_t before = tail;
  for (std::uint32_t i = 0; i < kSize / 2 && !overflow_.empty(); ++i) {
    slots_[tail++ % kSize].store(overflow_.pop(), std::memory_order_relaxed);
  }
  overflow_size_.store(overflow_.size(), std::memory_order_relaxed);
  tail_.store(tail, std::memory_order_release);
  if (overflow_.empty()) room_ = kSize;
  return tail != before;
}

Actor* RunQueue::steal_overflow(RunQueue& victim, std::uint32_t& stolen) {
  // acquire: pairs with open(); the owner takes the lock from here on.
  if (victim.overflow_size() == 0 || !victim.open_.load(std::memory_order_acquire)) return nullptr;
  const std::lock_guard guard(victim.overflow_lock_);
  if (victim.overflow_size_.load(std::memory_order_acquire) == 0) return nullptr;
  Actor* first = victim.overflow_.pop();
  std::uint32_t tail = tail_.load(std::memory_order_relaxed);
  std::uint32_t n = 1;
  for (; n < kSize / 2 && !victim.overflow_.empty(); ++n)
    slots_[tail++ % kSize].store(victim.overflow_.pop(), std::memory_order_relaxed);
  victim.overflow_size_.store(victim.overflow_.size(), std::memory_order_relaxed);
  tail_.store(tail, std::memory_order_release);
  stolen = n;
  return first;
}

Actor* RunQueue::pop_against_thieves() {
  std::uint32_t head = head_.load(std::memory_order_relaxed);
  for (;;) {
    if (head == tail_.load(std::memory_order_relaxed)) {
      if (!refill()) return nullptr;
      head = head_.load(std::memory_order_relaxed);
      continue;
    }
    Actor* a = slots_[head % kSize].load(std::memory_order_relaxed);
    // acq_rel: orders this take with the thieves' takes; the actor itself was published by this
    // very thread.
    if (head_.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel,
                                    std::memory_order_relaxed))
      return a;
  }
}

// A thief's presence. False: the owner has lost its CPU while it was popping.
class RunQueue::Thief {
 public:
  explicit Thief(RunQueue& victim) : victim_(victim) {
    victim_.thieves_.fetch_add(1, std::memory_order_seq_cst);
    if (have_heavy_barrier()) heavy_barrier();
    for (int spins = 0; spins < 1000; ++spins) {
      if (!victim_.popping_.load(kLightAcquire)) {
        may_take_ = true;
        return;
      }
      _mm_pause();
    }
  }
  ~Thief() { victim_.thieves_.fetch_sub(1, std::memory_order_release); }
  Thief(const Thief&) = delete;
  Thief& operator=(const Thief&) = delete;
  explicit operator bool() const { return may_take_; }

 private:
  RunQueue& victim_;
  bool may_take_ = false;
};

Actor* RunQueue::steal_from(RunQueue& victim, bool single, std::uint32_t& stolen) {
  if (victim.ring_size() < (single ? 1 : 2)) return nullptr;  // a look, before the barrier is paid
  const Thief thief(victim);
  if (!thief) return nullptr;
  std::uint32_t head = victim.head_.load(std::memory_order_acquire);
  const std::uint32_t mine = tail_.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint32_t tail =
        victim.tail_.load(std::memory_order_acquire);  // pairs with push: the slots are written
    const std::uint32_t available = tail - head;
    if (available > kSize) {  // head was read long ago
      head = victim.head_.load(std::memory_order_acquire);
      continue;
    }
    const std::uint32_t n = available >= 2 ? available / 2 : (single ? available : 0);
    if (n == 0) return nullptr;
    Actor* first = victim.slots_[head % kSize].load(std::memory_order_relaxed);
    for (std::uint32_t i = 1; i < n; ++i) {
      slots_[(mine + i - 1) % kSize].store(
          victim.slots_[(head + i) % kSize].load(std::memory_order_relaxed),
          std::memory_order_relaxed);
    }
    // release: the owner may reuse the slots only after the reads above.
    if (victim.head_.compare_exchange_weak(head, head + n, std::memory_order_acq_rel,
                                           std::memory_order_acquire)) {
      tail_.store(mine + n - 1, std::memory_order_release);
      stolen = n;
      return first;
    }
  }
}

}  // namespace smarm
