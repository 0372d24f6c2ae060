// The handlers of signals that a host depends on: the runtime's own, and those of the process that
// a plugin must not take over (SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE, SIGABRT).
//
// In a host a plugin's sigaction, signal and their kin fail for these with EINVAL, and are told of;
// its sigprocmask and pthread_sigmask leave them as they are; its sigaltstack fails with EPERM on a
// worker. Whoever makes the system call itself is not seen, so the handlers are looked at every now
// and then and put back. Masks and alternate stacks that were set that way are not looked at.
//
// Embedding programs that are no hosts change what they like.
#pragma once

#include <signal.h>

namespace smarm {

// Before an actor can call ours.
void learn_signals();
// From now on: what is in force is what is to stay. Once; later calls take up signals whose
// handlers the runtime has set since.
void guard_signals();
// [any thread, not in a signal handler] Puts back what was replaced. Some microseconds.
void restore_signals();

// Nobody else may have it: one that the runtime needs, or of a host's.
bool is_used_by_host(int signal);

// libc's own, for handlers.
int set_action(int signal, const struct sigaction* action, struct sigaction* before) noexcept;

}  // namespace smarm
