// A variable of one thread that another looks at, and seldom sets.
//
// The owner uses it like a plain one, in the same instructions: g++ makes three of one for the
// increment of a relaxed atomic, and never joins two loads. What keeps that sound is the
// protocol of those who look and set (sched/monitor.hpp): they act only on a thread that they then
// find asleep in a system call that user code made, and no compiler moves an access across such a
// call. ThreadSanitizer gets atomics.
#pragma once

#include "runtime/base/sanitizer.hpp"

#include <atomic>
#include <type_traits>

namespace smarm {

template <class T>
class Peeked {
  static_assert(std::is_trivially_copyable_v<T> &&
                sizeof(T) <= 8);  // NOLINT(bugprone-sizeof-expression): pointers are meant

 public:
  explicit Peeked(T value) : value_(value) {}
  Peeked(const Peeked&) = delete;
  Peeked& operator=(const Peeked&) = delete;

#if SMARM_TSAN
  operator T() const { return value_.load(std::memory_order_seq_cst); }
  void operator=(T value) { value_.store(value, std::memory_order_seq_cst); }
  T peek() const { return value_.load(std::memory_order_seq_cst); }
  void poke(T value) { value_.store(value, std::memory_order_seq_cst); }
#else
  operator T() const { return value_; }
  void operator=(T value) { value_ = value; }
  // Another thread.
  T peek() const { return __atomic_load_n(&value_, __ATOMIC_ACQUIRE); }
  void poke(T value) { __atomic_store_n(&value_, value, __ATOMIC_RELEASE); }
#endif
  T get() const { return *this; }  // where no conversion is tried
  T operator->() const
    requires std::is_pointer_v<T>
  {
    return *this;
  }
  void operator++()
    requires std::is_integral_v<T>
  {
    *this = *this + 1;
  }
  void operator--()
    requires std::is_integral_v<T>
  {
    *this = *this - 1;
  }

 private:
#if SMARM_TSAN
  std::atomic<T> value_;
#else
  T value_;
#endif
};

}  // namespace smarm
