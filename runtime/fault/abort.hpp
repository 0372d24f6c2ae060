// abort() and failed assertions: of an actor they are faults, anywhere else they are libc's.
#pragma once

namespace smarm {

// Finds libc's own, before an actor can call ours.
void learn_abort();
// libc's own.
[[noreturn]] void abort_process();

}  // namespace smarm
