// The gate of a runtime: where threads that are none of its workers hold on to it.
//
// A foreign thread finds a runtime through memory that outlives it (an actor's block, a socket),
// and the runtime may be torn down at any moment. So the count of those inside lives in a gate,
// which is recycled but never freed.
//
// 1. A caller raises `calls`, then looks whether what it came for still holds (its actor lives, the
// socket's gate still has its number); only then it uses `runtime`.
// 2. A runtime that ends lets its actors end or clears `runtime`, then waits until `calls` is 0.
// Both sides are seq_cst: the runtime sees the caller, or the caller sees that the runtime has
// gone.
// 3. `number` is new each time a gate is opened, so nobody mistakes a later runtime for its own.
#pragma once

#include "runtime/sched/forked.hpp"

#include <atomic>
#include <cstdint>

namespace smarm {

class RuntimeCore;

struct ForeignGate {
  std::atomic<RuntimeCore*> runtime{nullptr};
  std::atomic<std::uint64_t> number{0};
  std::atomic<std::uint32_t> calls{0};
  ForeignGate* next = nullptr;  // closed gates

  static ForeignGate& open(RuntimeCore& runtime);
  void close();  // waits for those inside
  void wait_empty() const;
};

// One call through a gate.
class ForeignCall {
 public:
  explicit ForeignCall(ForeignGate& gate) : gate_(gate) {
    must_have_runtime();
    gate_.calls.fetch_add(1, std::memory_order_seq_cst);
  }
  ~ForeignCall() { gate_.calls.fetch_sub(1, std::memory_order_seq_cst); }
  ForeignCall(const ForeignCall&) = delete;
  ForeignCall& operator=(const ForeignCall&) = delete;
  // nullptr: the runtime that had this number has gone.
  RuntimeCore* runtime(std::uint64_t number) const {
    RuntimeCore* rt = gate_.runtime.load(std::memory_order_seq_cst);
    return gate_.number.load(std::memory_order_seq_cst) == number ? rt : nullptr;
  }
  // For a caller that has seen one of its actors alive since the call began.
  RuntimeCore& runtime() const { return *gate_.runtime.load(std::memory_order_seq_cst); }

 private:
  ForeignGate& gate_;
};

}  // namespace smarm
