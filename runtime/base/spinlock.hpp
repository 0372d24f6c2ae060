// A spinlock for sections of a few instructions, held by a thread that cannot be switched to
// another actor meanwhile.
//
// 1. No allocation, callback, system call or actor switch while one is held.
// 2. Lock order is by rank: LOOM.md lists the ranks. A spinlock is never taken under another of the
// same rank.
// 3. A holder can lose its CPU, so a waiter gives its own away after a short spin.
#pragma once

#include <immintrin.h>
#include <sched.h>

#include <atomic>

namespace smarm {

inline constexpr std::size_t kCacheLine = 64;

class Spinlock {
 public:
  void lock() noexcept {
    for (int spins = 0; !try_lock(); ++spins) {
      if (spins < 64) {
        _mm_pause();
      } else {
        ::sched_yield();
      }
    }
  }
  bool try_lock() noexcept {
    // acquire: pairs with the release in unlock, so that the section sees what the last holder
    // wrote.
    return !locked_.load(std::memory_order_relaxed) &&
           !locked_.exchange(true, std::memory_order_acquire);
  }
  void unlock() noexcept { locked_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> locked_{false};
};

// Takes the lock unless `needed` is false: a runtime of one worker shares its structures with
// nobody.
class OptionalLock {
 public:
  OptionalLock(Spinlock& lock, bool needed) noexcept : lock_(needed ? &lock : nullptr) {
    if (lock_) lock_->lock();
  }
  ~OptionalLock() {
    if (lock_) lock_->unlock();
  }
  OptionalLock(const OptionalLock&) = delete;
  OptionalLock& operator=(const OptionalLock&) = delete;

 private:
  Spinlock* lock_;
};

}  // namespace smarm
