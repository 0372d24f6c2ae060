// Preemption by signal: the other half of sched/monitor.hpp.
#pragma once

namespace smarm {

// Whether this processor can save what a signal interrupts; false: set_last_error says why not.
bool can_preempt_asynchronously();
// Takes SIGURG, once for the process.
void install_async_preemption();

}  // namespace smarm
