// The calling thread's worker.
//
// An actor resumes on another OS thread than it parked on, and compilers keep the address of a
// thread_local across a call. So the variable is read by an instruction that the compiler can
// neither cache nor see through: call current_worker() again after every switch.
#pragma once

#include <cstdint>

namespace smarm {
class Worker;
}

extern "C" {
[[gnu::visibility("hidden"),
  gnu::tls_model("initial-exec")]] extern thread_local constinit smarm::Worker* smarm_tls_worker;
// Allocations until the next look at the clock.
[[gnu::visibility("hidden"),
  gnu::tls_model("initial-exec")]] extern thread_local constinit std::int32_t smarm_tls_countdown;
}

namespace smarm {

// nullptr on a thread that is no worker.
inline Worker* current_worker() {
  Worker* w;
  asm volatile(
      "movq smarm_tls_worker@gottpoff(%%rip), %0\n\t"
      "movq %%fs:(%0), %0"
      : "=r"(w));
  return w;
}

}  // namespace smarm
