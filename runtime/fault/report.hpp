// The last words of a process that ends by a fault.
#pragma once

#include <signal.h>
#include <ucontext.h>

namespace smarm {

// Writes what is known of the fault to stderr: signal, address, code, actor, thread, registers and
// backtrace. Async-signal-safe: no allocation, no lock. context may be null.
void report_fault(int signal, const void* address, const void* pc, const ucontext_t* context);

}  // namespace smarm
