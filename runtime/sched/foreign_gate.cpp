#include "runtime/sched/foreign_gate.hpp"

#include <sched.h>

#include <mutex>

namespace smarm {

namespace {

std::mutex pool_mutex;  // rank: gates, a leaf; taken when a runtime is made or destroyed
ForeignGate* closed_gates = nullptr;
std::uint64_t opened = 0;

}  // namespace

ForeignGate& ForeignGate::open(RuntimeCore& runtime) {
  const std::lock_guard guard(pool_mutex);
  ForeignGate* gate = closed_gates;
  if (gate) {
    closed_gates = gate->next;
  } else {
    gate = new ForeignGate;
  }
  gate->number.store(++opened, std::memory_order_seq_cst);
  gate->runtime.store(&runtime, std::memory_order_seq_cst);
  return *gate;
}

void ForeignGate::wait_empty() const {
  while (calls.load(std::memory_order_seq_cst) != 0) ::sched_yield();
}

void ForeignGate::close() {
  runtime.store(nullptr, std::memory_order_seq_cst);
  wait_empty();
  const std::lock_guard guard(pool_mutex);
  next = closed_gates;
  closed_gates = this;
}

}  // namespace smarm
