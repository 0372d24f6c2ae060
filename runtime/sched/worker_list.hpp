// The workers of a runtime: those that it was made with and, behind them, extra ones.
//
// It grows and never shrinks, in place, so others may go through it meanwhile: they see a whole
// worker or none. One thread adds.
#pragma once

#include "runtime/base/assert.hpp"
#include "runtime/sched/worker.hpp"

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace smarm {

class WorkerList {
 public:
  explicit WorkerList(std::size_t capacity)
      : capacity_(capacity), slots_(std::make_unique<std::unique_ptr<Worker>[]>(capacity)) {}

  void add(std::unique_ptr<Worker> w) {
    const std::size_t n = count_.load(std::memory_order_relaxed);
    SMARM_ASSERT(n < capacity_);
    slots_[n] = std::move(w);
    count_.store(n + 1, std::memory_order_release);  // pairs with size()
  }
  std::size_t size() const { return count_.load(std::memory_order_acquire); }
  std::size_t capacity() const { return capacity_; }
  const std::unique_ptr<Worker>& operator[](std::size_t i) const { return slots_[i]; }
  const std::unique_ptr<Worker>* begin() const { return slots_.get(); }
  const std::unique_ptr<Worker>* end() const { return slots_.get() + size(); }

 private:
  const std::size_t capacity_;
  const std::unique_ptr<std::unique_ptr<Worker>[]> slots_;
  std::atomic<std::size_t> count_{0};
};

}  // namespace smarm
