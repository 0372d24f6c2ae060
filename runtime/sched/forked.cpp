#include "runtime/sched/forked.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/sched/current.hpp"
#include "runtime/sched/running.hpp"

#include <smarm/smarm.h>

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string_view>

namespace smarm {

constinit std::atomic<bool> forked_child{false};

namespace {

// A program that forks before it runs a runtime, as a daemon does, runs it in the child.
void in_child() {
  if (!current_worker() && !any_runtime_runs()) return;
  forked_child.store(true, std::memory_order_relaxed);
  smarm_tls_worker = nullptr;
}

}  // namespace

void end_forked_child() {
  constexpr std::string_view kWhy =
      "smarm: a forked child called the runtime, or came to the end of its actor: it has no "
      "workers. Call exec or _exit in the child, or posix_spawn. The child ends.\n";
  static_cast<void>(!::write(STDERR_FILENO, kWhy.data(), kWhy.size()));
  for (;;) ::syscall(SYS_exit_group, kForkedExit);
}

int not_an_actor() {
  must_have_runtime();
  return SMARM_E_NOT_ACTOR;
}

void install_fork_handler() { SMARM_ASSERT(::pthread_atfork(nullptr, nullptr, in_child) == 0); }

}  // namespace smarm
