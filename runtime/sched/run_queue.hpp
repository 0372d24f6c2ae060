// The queues of a worker.
//
// RunQueue: first in, first out, for woken and yielding actors. A ring of 256 that thieves may take
// half of, and behind it a private list for what does not fit, so that order holds however many are
// runnable. (The ring is Go's and tokio's; they spill to the global queue and lose the order.)
// FreshDeque: last in, first out, for actors that have not run yet: a tree of spawns is then walked
// depth-first and holds few stacks. Thieves take the oldest. (Chase and Lev, "Dynamic circular
// work-stealing deque", 2005, bounded.)
//
// Threads: the owner calls everything; other workers only steal_* and the size functions. A queue
// that is not shared is that of a runtime of one worker, where nobody steals and plain loads and
// stores do; when the worker blocks its thread the monitor shares it (sched/monitor.hpp).
//
// RunQueue
// 1. head <= tail <= head + kSize; slots in [head, tail) hold actors, each owned by the queue.
// 2. Only the owner writes tail and slots; it never overwrites a slot before head has passed it.
// 3. Whoever moves head by compare-exchange from h to h + n owns slots [h, h + n) as they were read
// before: the exchange fails if another took one of them.
// 4. With no thief about the owner takes by plain loads and stores. It says that it is popping and
// then looks for thieves; a thief counts itself and then waits until the owner is not popping. The
// barrier between is the thief's alone (heavy_barrier.hpp): owners take millions of times a second,
// thieves seldom. While there are thieves the owner takes by compare-exchange as they do.
// 5. The overflow list is older than nothing in the ring: pushes go there while it is not empty.
// 6. The overflow list is the owner's alone until the owner has once blocked its thread: from then
// on its lock is taken (`lent_`, seen by the owner), and others may take from it (`open_`, seen by
// them). The monitor sets the one, makes sure that the owner is asleep outside the queue, and then
// sets the other.
#pragma once

#include "runtime/actor/actor.hpp"
#include "runtime/base/heavy_barrier.hpp"
#include "runtime/base/peeked.hpp"
#include "runtime/base/spinlock.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

namespace smarm {

// An intrusive FIFO through Actor::link. Owner only.
class ActorList {
 public:
  void push(Actor* a) {
    a->link = nullptr;
    (tail_ ? tail_->link : head_) = a;
    tail_ = a;
    ++size_;
  }
  Actor* pop() {
    Actor* a = head_;
    if (!a) return nullptr;
    head_ = a->link;
    if (!head_) tail_ = nullptr;
    --size_;
    return a;
  }
  Actor* front() const { return head_; }
  bool empty() const { return head_ == nullptr; }
  std::size_t size() const { return size_; }

 private:
  Actor* head_ = nullptr;
  Actor* tail_ = nullptr;
  std::size_t size_ = 0;
};

class RunQueue {
 public:
  static constexpr std::uint32_t kSize = 256;

  // Without a heavy barrier there is a thief about for ever.
  explicit RunQueue(bool shared) : thieves_(have_heavy_barrier() ? 0 : 1), shared_(shared) {}

  void push(Actor* a) {
    const std::uint32_t tail =
        tail_.load(std::memory_order_relaxed);  // relaxed: only the owner writes it
    // acquire: pairs with the release of a thief's exchange, which was done with the slot.
    if (tail - head_.load(std::memory_order_acquire) < room_) [[likely]] {
      slots_[tail % kSize].store(a, std::memory_order_relaxed);
      tail_.store(tail + 1, std::memory_order_release);  // pairs with the acquire in steal_half:
                                                         // publishes the slot and the actor
      return;
    }
    if (lent_) [[unlikely]]
      return push_lent(a);
    push_over(a);
  }

  Actor* pop() {
    if (shared_) return pop_among_many();
    return ring_size() != 0 || refill() ? pop_ring() : nullptr;
  }
  // Nobody steals, and the ring is not empty.
  Actor* pop_ring() {
    const std::uint32_t head = head_.load(std::memory_order_relaxed);
    Actor* a = slots_[head % kSize].load(std::memory_order_relaxed);
    head_.store(head + 1, std::memory_order_relaxed);
    return a;
  }
  // Who is likely to be popped after `skip` others, or has been taken meanwhile. Owner.
  const Actor* likely_next(std::uint32_t skip) const {
    return ring_size() > skip ? slots_[(head() + skip) % kSize].load(std::memory_order_relaxed)
                              : nullptr;
  }
  // Nobody steals: pushes `a` and pops another in one, where there is another in the ring and
  // nothing behind it.
  bool can_rotate() const { return ring_size() != 0 && room_ != 0; }
  Actor* rotate(Actor* a) {
    const std::uint32_t head = head_.load(std::memory_order_relaxed);
    const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
    Actor* next = slots_[head % kSize].load(std::memory_order_relaxed);
    slots_[tail % kSize].store(a, std::memory_order_relaxed);
    head_.store(head + 1, std::memory_order_relaxed);
    tail_.store(tail + 1, std::memory_order_relaxed);
    return next;
  }
  Actor* pop_among_many() {
    popping_.store(true, kLightOrder);
    light_barrier();
    // acquire: pairs with the release of the last thief, whose exchange of head is seen.
    if (thieves_.load(kLightAcquire) != 0) [[unlikely]] {
      popping_.store(false, std::memory_order_relaxed);
      return pop_against_thieves();
    }
    Actor* a = ring_size() != 0 ? pop_ring() : nullptr;
    // release: pairs with the acquire of a thief that waits for it, and then reads head.
    popping_.store(false, std::memory_order_release);
    return a || !refill() ? a : pop_among_many();
  }

  // A stranger's view; exact for the owner of a queue that nobody steals from.
  std::uint32_t ring_size() const {
    return tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_relaxed);
  }
  std::uint32_t head() const { return head_.load(std::memory_order_relaxed); }
  // What does not fit into the ring; a hint for strangers.
  std::size_t overflow_size() const { return overflow_size_.load(std::memory_order_relaxed); }
  bool empty() const { return size() == 0; }                          // owner
  std::size_t size() const { return ring_size() + overflow_size(); }  // owner
  // The position in the order that the next push will get, and whether everything before a position
  // has been taken. Owner.
  std::uint32_t end_position() const {
    return tail_.load(std::memory_order_relaxed) + static_cast<std::uint32_t>(overflow_size());
  }
  bool reached(std::uint32_t position) const {
    return static_cast<std::int32_t>(head() - position) >= 0;
  }

  // Takes the older half of victim's ring (all of one when `single`) and returns one actor of it;
  // the rest goes into this queue's ring, which has room for that.
  Actor* steal_from(RunQueue& victim, bool single, std::uint32_t& stolen);
  bool has_room_for_half() const { return ring_size() <= kSize / 2; }  // owner
  // The same with the oldest of victim's overflow, when that is open.
  Actor* steal_overflow(RunQueue& victim, std::uint32_t& stolen);

  // The monitor's, in this order; invariant 6.
  void lend() {
    lent_.poke(true);
    shared_.poke(true);
  }
  void open() { open_.store(true, std::memory_order_release); }  // pairs with steal_overflow
  // The owner's again, with nobody about who steals.
  void take_back(bool shared) {
    open_.store(false, std::memory_order_relaxed);
    lent_ = false;
    shared_ = shared;
  }

 private:
  class Thief;
  void push_over(Actor* a) {
    overflow_.push(a);
    // release: pairs with the acquire in steal_overflow, for a list that was not locked yet.
    overflow_size_.store(overflow_.size(), std::memory_order_release);
    room_ = 0;
  }
  void push_lent(Actor* a);
  bool refill();
  Actor* pop_against_thieves();

  alignas(kCacheLine) std::atomic<std::uint32_t> head_{0};  // thieves write it
  std::atomic<std::uint32_t> thieves_;                      // and this
  alignas(kCacheLine) std::atomic<std::uint32_t> tail_{0};
  std::atomic<bool> popping_{false};
  Peeked<bool> shared_;
  std::uint32_t room_ = kSize;  // 0: pushes go to the overflow. The owner's
  Peeked<bool> lent_{false};
  std::atomic<bool> open_{false};
  Spinlock overflow_lock_;  // rank: overflow
  ActorList overflow_;
  std::atomic<std::size_t> overflow_size_{0};
  std::array<std::atomic<Actor*>, kSize> slots_{};
};

class FreshDeque {
 public:
  static constexpr std::int64_t kSize = 256;

  explicit FreshDeque(bool shared) : shared_(shared) {}
  void lend() { shared_.poke(true); }
  void take_back(bool shared) { shared_ = shared; }

  // How many it holds now; 0: full, not taken.
  std::int64_t push(Actor* a) {
    const std::int64_t bottom = bottom_.load(std::memory_order_relaxed);
    const std::int64_t top = top_.load(
        std::memory_order_acquire);  // pairs with the thieves' exchange: the slot is free again
    if (bottom - top >= kSize) [[unlikely]]
      return 0;
    slots_[slot(bottom)].store(a, std::memory_order_relaxed);
    bottom_.store(bottom + 1, std::memory_order_release);  // pairs with the load in steal
    return bottom + 1 - top;
  }

  // The newest.
  Actor* pop() {
    std::int64_t bottom = bottom_.load(std::memory_order_relaxed) - 1;
    if (!shared_) {
      if (bottom < top_.load(std::memory_order_relaxed)) return nullptr;
      bottom_.store(bottom, std::memory_order_relaxed);
      return slots_[slot(bottom)].load(std::memory_order_relaxed);
    }
    if (bottom < top_.load(std::memory_order_relaxed))
      return nullptr;  // empty, and only the owner fills it
    // seq_cst exchange, then seq_cst load: the owner claims the last slot before it looks at top, a
    // thief looks at bottom after top; one of them sees the other.
    bottom_.exchange(bottom, std::memory_order_seq_cst);
    std::int64_t top = top_.load(std::memory_order_seq_cst);
    Actor* a = nullptr;
    if (top <= bottom) {
      a = slots_[slot(bottom)].load(std::memory_order_relaxed);
      if (top < bottom) return a;
      if (!top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst))
        a = nullptr;  // the last one: a thief was faster
    }
    bottom_.store(bottom + 1, std::memory_order_relaxed);
    return a;
  }

  // The oldest. Any worker.
  Actor* steal() {
    std::int64_t top = top_.load(std::memory_order_seq_cst);
    for (;;) {
      const std::int64_t bottom = bottom_.load(std::memory_order_seq_cst);
      if (top >= bottom) return nullptr;
      Actor* a = slots_[slot(top)].load(std::memory_order_relaxed);
      if (top_.compare_exchange_weak(top, top + 1, std::memory_order_seq_cst)) return a;
    }
  }
  std::size_t size() const {
    const std::int64_t n =
        bottom_.load(std::memory_order_relaxed) - top_.load(std::memory_order_relaxed);
    return n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  std::int64_t taken() const {
    return top_.load(std::memory_order_relaxed);
  }  // how many thieves have taken so far

 private:
  static std::size_t slot(std::int64_t position) {
    return static_cast<std::size_t>(position) % static_cast<std::size_t>(kSize);
  }

  alignas(kCacheLine) std::atomic<std::int64_t> top_{0};  // thieves write it
  alignas(kCacheLine) std::atomic<std::int64_t> bottom_{0};
  Peeked<bool> shared_;
  std::array<std::atomic<Actor*>, kSize> slots_{};
};

// The queue that all workers of a runtime share: fresh actors that did not fit, and nothing on a
// hot path.
class InjectQueue {
 public:
  void push(Actor* a) {
    const std::lock_guard guard(lock_);
    list_.push(a);
    size_.store(list_.size(), std::memory_order_relaxed);
  }
  Actor* pop() {
    if (size() == 0) return nullptr;
    const std::lock_guard guard(lock_);
    Actor* a = list_.pop();
    size_.store(list_.size(), std::memory_order_relaxed);
    return a;
  }
  // relaxed: a hint; whoever goes to sleep looks again behind the idle protocol's fence.
  std::size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  Spinlock lock_;  // rank: inject
  ActorList list_;
  alignas(kCacheLine) std::atomic<std::size_t> size_{0};
};

}  // namespace smarm
