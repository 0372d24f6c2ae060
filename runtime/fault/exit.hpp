// exit() and its kin: of an actor they are faults, anywhere else they are libc's.
#pragma once

namespace smarm {

// Finds libc's own, before an actor can call ours.
void learn_exit();
// In a host: an exit that an actor brought about inside libc is reported.
void watch_exit();

}  // namespace smarm
