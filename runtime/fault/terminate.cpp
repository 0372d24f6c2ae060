// std::terminate in an actor ends the actor, not the process: an exception, or the unwinding of a
// kill, met a frame that lets none through (a noexcept function; a destructor that waits; a catch
// (...) inside a handler, where a forced unwinding may not be caught). The stack cannot be unwound
// any more, so the actor is abandoned: its supervisor and joiner hear why, its destructors do not
// run, its stack is lost. On a thread that a plugin has made it ends that thread.

#include "runtime/actor/exit_record.hpp"
#include "runtime/fault/contain.hpp"
#include "runtime/fault/culprit.hpp"
#include "runtime/fault/install.hpp"
#include "runtime/fault/notice.hpp"
#include "runtime/sched/actor_main.hpp"
#include "runtime/sched/park.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <utility>

namespace smarm {

namespace {

std::terminate_handler process_handler = nullptr;

// On a thread that runs no actor. Of a plugin's own it is that thread's end.
[[noreturn]] void terminate_thread() {
  static thread_local constinit bool again = false;  // a what() that throws is not asked twice
  if (thread_is_ending()) end_thread_at_once();
  if (const void* culprit = is_host() ? innermost_plugin_code() : nullptr) {
    char did[256] = "called std::terminate";
    if (std::current_exception() && !std::exchange(again, true)) {
      if (smarm_exit* exit = make_panic_record({})) {
        std::snprintf(did, sizeof did, "threw %s, which nothing caught: %s", exit->type.c_str(),
                      exit->message.c_str());
        smarm_exit_release(exit);
      }
    }
    contain(did, culprit, false);
  }
  if (process_handler) process_handler();
  std::abort();
}

[[noreturn]] void terminate() {
  Worker* w = current_worker();
  Actor* self = w && w->in_runtime == 0 ? w->current.get() : nullptr;
  if (!self) terminate_thread();
  if (self->dying) {
    abandon_self(
        *self,
        make_killed_record(self->pid(),
                           "killed; its unwinding met a frame that lets none through (a destructor "
                           "or another noexcept function that was waiting), so it was abandoned "
                           "and its stack is lost"));
  }
  // A description that itself terminates (a what() that throws) is not asked for twice.
  const bool again = std::exchange(self->abandoned, true);
  smarm_exit* exit = nullptr;
  if (std::current_exception() && !again) {
    exit = make_panic_record(self->pid());
  } else {
    exit = make_killed_record(self->pid(), "std::terminate was called");
    if (exit) exit->kind = SMARM_EXIT_PANIC;
  }
  if (exit) exit->message += " (std::terminate: abandoned, its stack is lost)";
  abandon_self(*self, exit);
}

}  // namespace

void install_terminate_handler() { process_handler = std::set_terminate(terminate); }

void restore_terminate_handler() {
  if (std::get_terminate() == terminate) return;
  const auto other = std::set_terminate(terminate);
  tell(SMARM_NOTICE_RESTORED, reinterpret_cast<const void*>(other), "",
       "the handler of std::terminate was replaced; it was put back");
}

}  // namespace smarm
