// A child that was forked while a runtime ran: it has one thread, and no workers. It may do what a
// child does, which is exec or _exit; what it did to the runtime's descriptors it would do to its
// parent's, and it would wait for ever for threads that it has not. So a call that needs the
// runtime ends it, with a line that says why.
//
// The hot paths pay nothing: in such a child the calling thread is no worker's, and only who finds
// that looks here.
#pragma once

#include <atomic>

namespace smarm {

// relaxed: written by the only thread of a new process.
[[gnu::visibility("hidden")]] extern constinit std::atomic<bool> forked_child;
// How it ends, for its parent to see.
inline constexpr int kForkedExit = 70;

[[noreturn, gnu::cold, gnu::noinline]] void end_forked_child();
// Of a caller that is no worker.
inline void must_have_runtime() {
  if (forked_child.load(std::memory_order_relaxed)) [[unlikely]]
    end_forked_child();
}

// What a call that only actors may make answers others.
[[gnu::cold, gnu::noinline]] int not_an_actor();

// Before the first runtime is made: what a fork does.
void install_fork_handler();

}  // namespace smarm
