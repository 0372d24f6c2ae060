// Timers with a function of their own, on the wheel of the worker that started them.
#pragma once

#include "runtime/sched/worker.hpp"

#include <atomic>

struct smarm_timer : smarm::TimerNode {
  void (*fire)(void*) = nullptr;
  void* arg = nullptr;
  smarm::Worker* home = nullptr;
  std::uint64_t runtime = 0;                 // number of its runtime, which may be gone
  std::atomic<std::uint32_t> references{2};  // the handle's and the wheel's
};

namespace smarm {

smarm_timer* start_timer(Worker& w, std::int64_t after_ns, void (*fire)(void*), void* arg);
void fire_timer(TimerNode& timer);
int cancel_timer(smarm_timer* timer);
void detach_timer(smarm_timer* timer);

}  // namespace smarm
