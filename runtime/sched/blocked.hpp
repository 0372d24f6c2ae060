// What the kernel tells of a thread that is not running, and where it came from.
//
// For the monitor: plain files of /proc/self/task, which a process may always read of itself unless
// it was made non-dumpable or /proc is not there.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace smarm {

// Does the kernel run the thread, or keep it waiting for a CPU? Not when it sleeps in a call.
bool is_running(pid_t thread);

// A thread that sleeps in a system call.
struct SleepingCall {
  long number = 0;
  std::uintptr_t sp = 0, pc = 0;
};
// False: it runs, or sleeps for another reason (a page that has to be read), or cannot be seen. The
// kernel makes sure that the thread was off its CPU all the while that it looked: what it did
// before is seen by the caller afterwards, and what the caller did before is seen by the thread
// when it goes on.
bool sleeps_in_call(pid_t thread, SleepingCall& call);
// Whether the kernel tells such things at all.
bool can_see_calls();

// Addresses of the code that led to a sleeping call on an actor's stack, innermost first: what the
// stack holds that lies behind a call instruction in the text of some image. An approximation: the
// registers that a true unwinding starts from are not known, and a frame may hold old addresses.
// How many were written. The thread may wake up meanwhile: then they are worth nothing.
std::size_t trace_call(const SleepingCall& call, std::span<void*> frames);

}  // namespace smarm
