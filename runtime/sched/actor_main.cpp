#include "runtime/sched/actor_main.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/context/red_zone.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/runtime_core.hpp"

#include <cxxabi.h>

#include <algorithm>
#include <mutex>
#include <new>

namespace smarm {

using namespace state_word;

namespace {

ExitHooks exit_hooks;

// From here on the pid is stale. True: it has left a mailbox behind.
bool mark_done(Actor& a, bool solo) {
  std::uint64_t word = a.word.load(std::memory_order_relaxed);
  for (;;) {
    SMARM_ASSERT(legal_transition(state(word), ActorState::done));
    // A wait number more: tickets of this life are worth nothing in the next.
    const std::uint64_t next = make(generation(word), next_wait(word), ActorState::done);
    if (solo) {
      a.word.store(next, std::memory_order_release);
    } else if (!a.word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                             std::memory_order_relaxed)) {
      continue;
    }
    return word & kMailbox;
  }
}

void free_actor(Actor& a, Worker& w) {
  if (a.exit) smarm_exit_release(a.exit);
  a.exit = nullptr;
  w.actors.give(&a);
}

// The actor's end meets the end of its handle. Afterwards the block may be somebody else's.
void resolve_join(Actor& a, Worker& w) {
  const std::uint64_t old = a.join.exchange(
      kJoinDone, std::memory_order_acq_rel);  // pairs with join_actor and detach_actor
  if (old == kJoinDetached) {
    free_actor(a, w);
  } else if (old > kJoinDetached) {
    const Ticket joiner = Ticket::unpack(old);
    if (joiner.actor().runtime.load(std::memory_order_relaxed) == &w.runtime) [[likely]] {
      w.wake(joiner);
    } else {
      wake(joiner);
    }
  }
}

[[gnu::noinline]] void tell_panic(const Actor& a, const smarm_exit& exit, const Worker& w) {
  const smarm_config& config = w.runtime.config();
  if (!config.on_panic || exit.kind != SMARM_EXIT_PANIC) return;
  smarm_panic p{};
  p.struct_size = sizeof p;
  p.pid = a.pid();
  p.supervisor = a.supervisor.load(std::memory_order_relaxed);
  p.group = a.group.load(std::memory_order_relaxed);
  if (const ActorExtras* extras = a.extras.load(std::memory_order_relaxed))
    extras->name.copy(p.name, sizeof p.name - 1);
  p.exit = &exit;
  config.on_panic(&p, config.on_panic_arg);
}

// Everything that an end does but for the stack.
void end_actor(Actor& a, smarm_exit* exit, Worker& w) {
  a.exit = exit;
  if (exit) [[unlikely]]
    tell_panic(a, *exit, w);
  if (exit_hooks.ending) exit_hooks.ending(a, exit);
  if (ActorExtras* extras = a.extras.load(std::memory_order_relaxed)) {
    {
      std::lock_guard guard(extras_lock());  // another thread may be using them
      a.extras.store(nullptr, std::memory_order_relaxed);
    }
    delete extras;
  }
  w.stacks.pool().unreserve();
  const smarm_pid pid = a.pid();
  if (mark_done(a, w.solo)) exit_hooks.left_mailbox(pid);
  w.counters.exited.add();
}

// The actor has ended; its stack is freed by who goes on, whose context is returned.
Context& finish_actor(Actor& self, smarm_exit* exit) {
  Worker& w = *current_worker();
  end_actor(self, exit, w);
  if (!self.abandoned) mend_guard(self.stack);
  w.bury(self.abandoned ? Stack{} : self.stack, self.context);
  self.stack = Stack{};
  self.context = Context{};
  w.current = nullptr;  // the block may be somebody else's from the next line on
  resolve_join(self, w);
  return w.successor();
}

enum class Ended : std::uint8_t { normally, panicked, killed };

// Not inlined: its frame is gone when the actor ends.
[[gnu::noinline]] Ended run_entry(Actor& self, smarm_exit*& exit) {
  try {
    self.entry(self.closure, SMARM_RUN);
    return Ended::normally;
  } catch (abi::__forced_unwind&) {
    self.abandoned = true;  // the unwinding ends here by intent: tells kill_swallowed so
    return Ended::killed;
  } catch (...) {
    exit = make_panic_record(self.pid());
    return Ended::panicked;
  }
}

void copy_throw_trace(Actor& self, smarm_exit* exit) {
  ActorExtras* extras = self.extras.load(std::memory_order_relaxed);
  if (!extras || !extras->thrown || !exit) return;
  const ThrowTrace& thrown = *extras->thrown;
  exit->frame_count = thrown.count;
  std::copy_n(thrown.frames, thrown.count, exit->frames);
}

}  // namespace

void set_exit_hooks(ExitHooks hooks) { exit_hooks = hooks; }

ActorExtras* extras_of(Actor& a) {
  ActorExtras* extras = a.extras.load(std::memory_order_acquire);
  if (extras) return extras;
  auto* fresh = new (std::nothrow) ActorExtras;
  if (!fresh) return nullptr;
  if (a.extras.compare_exchange_strong(extras, fresh, std::memory_order_acq_rel)) return fresh;
  delete fresh;
  return extras;
}

ThrowTrace* throw_trace_of(Actor& self) {
  ActorExtras* extras = extras_of(self);
  if (!extras) return nullptr;
  if (!extras->thrown) extras->thrown.reset(new (std::nothrow) ThrowTrace);
  return extras->thrown.get();
}

Actor* make_actor(Worker& w, const SpawnRequest& request) {
  if (!w.stacks.pool().reserve()) return nullptr;
  Actor* a = w.actors.take();
  if (!a) {
    w.stacks.pool().unreserve();
    return nullptr;
  }
  a->eh = {};
  a->no_preempt = 0;
  a->stack_class = request.stack_class;
  a->dying = false;
  a->abandoned = false;
  a->swallowed = 0;
  a->overrun = 0;
  a->preempted_alloc.store(0, std::memory_order_relaxed);
  a->preempted_async.store(0, std::memory_order_relaxed);
  a->runtime.store(&w.runtime, std::memory_order_relaxed);
  a->gate.store(&w.runtime.gate(), std::memory_order_relaxed);
  a->entry = request.entry;
  a->closure = request.closure;
  a->supervisor.store(request.supervisor, std::memory_order_relaxed);
  a->group.store(request.group, std::memory_order_relaxed);
  const std::uint64_t word = a->word.load(std::memory_order_relaxed);
  SMARM_ASSERT(legal_transition(state(word), ActorState::active));
  a->word.store(with_state(word, ActorState::active),
                std::memory_order_release);  // publishes the fields above to who holds the pid
  w.counters.spawned.add();
  return a;
}

void* actor_main(void* arg) {
  Actor& self = *static_cast<Actor*>(arg);
  entered_context(nullptr);
  current_worker()->finish_switch();
  --current_worker()->in_runtime;
  smarm_exit* exit = nullptr;
  Ended ended = Ended::killed;
  if (kill_pending(self)) {  // before it ran
    self.dying = true;
    self.entry(self.closure, SMARM_DROP);
  } else {
    ended = run_entry(self, exit);
  }
  Worker* here = current_worker();
  if (!here) [[unlikely]]
    end_forked_child();
  ++here->in_runtime;
  if (ended == Ended::killed) exit = make_killed_record(self.pid(), "killed");
  if (ended == Ended::panicked) copy_throw_trace(self, exit);
  self.abandoned = false;
  Context& next = finish_actor(self, exit);
  if constexpr (SMARM_ASAN || SMARM_TSAN) leave_context(next);
  return next.sp;
}

void fail_unstarted(Actor& a, Worker& w, const char* reason) {
  smarm_exit* exit = make_failed_record(a.pid(), reason);
  {
    const OutsideSection user_code;  // runs for nobody: no actor is current here
    a.entry(a.closure, SMARM_DROP);
  }
  end_actor(a, exit, w);
  resolve_join(a, w);
}

void abandon_self(Actor& self, smarm_exit* exit) {
  ++current_worker()->in_runtime;
  self.abandoned = true;
  if (exit && exit->exception) copy_throw_trace(self, exit);
  leave_context(finish_actor(self, exit));
}

void detach_actor(Actor& a) {
  std::uint64_t expected = kJoinNobody;
  // acq_rel: pairs with resolve_join; exactly one side sees the other's mark and frees the block.
  if (a.join.compare_exchange_strong(expected, kJoinDetached, std::memory_order_acq_rel)) return;
  if (Worker* w = current_worker()) {
    free_actor(a, *w);
  } else {
    ActorCache cache;  // a foreign thread: straight to the table
    if (a.exit) smarm_exit_release(a.exit);
    a.exit = nullptr;
    cache.give(&a);
  }
}

int join_actor(Actor& self, Actor& target, smarm_exit** exit) {
  if (self.dying) return SMARM_E_DYING;
  for (;;) {
    const Ticket ticket = begin_wait(self);
    const std::uint64_t mine = ticket.pack();
    std::uint64_t seen = target.join.load(
        std::memory_order_acquire);  // pairs with resolve_join: done means that exit is written
    while (seen != kJoinDone &&
           !target.join.compare_exchange_weak(seen, mine, std::memory_order_acq_rel,
                                              std::memory_order_acquire)) {
    }
    if (seen == kJoinDone) break;
    if (wait(self, ticket, WaitKind::join, kNever) == Woken::killed) {
      seen = mine;
      target.join.compare_exchange_strong(
          seen, kJoinNobody, std::memory_order_acq_rel);  // fails when it has ended meanwhile
      return kKilled;  // the handle is still whole: its owner's destructor detaches
    }
  }
  *exit = target.exit;
  target.exit = nullptr;
  current_worker()->actors.give(&target);
  return SMARM_OK;
}

}  // namespace smarm
