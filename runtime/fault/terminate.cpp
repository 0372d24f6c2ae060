// std::terminate in an actor ends the actor, not the process: an exception, or the unwinding of a
// kill, met a frame that lets none through (a noexcept function; a destructor that waits; a catch
// (...) inside a handler, where a forced unwinding may not be caught). The stack cannot be unwound
// any more, so the actor is abandoned: its supervisor and joiner hear why, its destructors do not
// run, its stack is lost.

#include "runtime/actor/exit_record.hpp"
#include "runtime/fault/install.hpp"
#include "runtime/sched/actor_main.hpp"
#include "runtime/sched/park.hpp"

#include <cstdlib>
#include <exception>
#include <utility>

namespace smarm {

namespace {

std::terminate_handler process_handler = nullptr;

[[noreturn]] void terminate() {
  Worker* w = current_worker();
  Actor* self = w && w->in_runtime == 0 ? w->current : nullptr;
  if (!self) {
    if (process_handler) process_handler();
    std::abort();
  }
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

}  // namespace smarm
