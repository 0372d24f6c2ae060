#include "runtime/sched/park.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/context/unwind.hpp"
#include "runtime/sched/actor_main.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

namespace smarm {

using namespace state_word;

Woken wait_until(Actor& self, Ticket ticket, WaitKind kind, std::uint64_t deadline_ns) {
  SMARM_ASSERT(!self.dying);
  const std::uint64_t word = self.word.load(std::memory_order_acquire);
  if (word & kKill) return Woken::killed;
  if (!ticket.valid_in(word)) return Woken::by_ticket;  // before it began
  Worker* w = current_worker();
  if (deadline_ns <= w->runtime.clock().now_ns()) return Woken::by_time;
  w->arm_wait_timer(self, ticket, deadline_ns);
  self.waits_for.store(kind, std::memory_order_relaxed);
  w->counters.parks.add();
  w->leave<Worker::After::publish_wait>();
  const bool fired =
      !current_worker()->runtime.workers()[self.timer.home]->cancel_timer(self.timer);
  if (kill_pending(self)) return Woken::killed;
  return fired ? Woken::by_time : Woken::by_ticket;
}

namespace {

Ticket begin_next_wait(Actor& self, std::uint64_t flags) {
  std::uint64_t word = self.word.load(std::memory_order_relaxed);
  while (!self.word.compare_exchange_weak(word, (next_wait(word) & ~kWoken) | flags,
                                          std::memory_order_acq_rel, std::memory_order_relaxed)) {
  }
  return {self, next_wait(word)};
}

}  // namespace

Ticket begin_own_wait(Actor& self) { return begin_next_wait(self, 0); }
Ticket begin_held_wait(Actor& self) { return begin_next_wait(self, kHold); }

void wait_held(Actor& self, Ticket ticket, WaitKind kind) {
  while (ticket.valid_in(self.word.load(std::memory_order_acquire))) {
    self.waits_for.store(kind, std::memory_order_relaxed);
    current_worker()->counters.parks.add();
    current_worker()->leave<Worker::After::publish_wait>();
  }
  self.word.fetch_and(~kHold, std::memory_order_acq_rel);
}

int park_current_actor(Actor& self) {
  if (self.dying) return SMARM_E_DYING;
  if (kill_pending(self)) return kKilled;
  std::uint64_t word = self.word.load(std::memory_order_acquire);
  while (word & kToken) {
    if (self.word.compare_exchange_weak(word, word & ~kToken, std::memory_order_acq_rel))
      return SMARM_OK;
  }
  Worker* w = current_worker();
  self.waits_for.store(WaitKind::park, std::memory_order_relaxed);
  w->counters.parks.add();
  w->leave<Worker::After::publish_park>();
  return kill_pending(self) ? kKilled : SMARM_OK;
}

int sleep_current_actor(Actor& self, std::int64_t ns) {
  if (self.dying) return SMARM_E_DYING;
  if (ns == 0) {
    yield_current_actor(*current_worker());
    return kill_pending(self) ? kKilled : SMARM_OK;
  }
  const std::uint64_t deadline = deadline_after(current_worker()->runtime.clock().now_ns(), ns);
  for (;;) {
    const Ticket ticket = begin_wait(self);
    switch (wait(self, ticket, WaitKind::sleep, deadline)) {
      case Woken::by_time: return SMARM_OK;
      case Woken::killed: return kKilled;
      case Woken::by_ticket: break;  // a late waker of an earlier wait
    }
  }
}

// ---- by pid ----

void unpark_local(Worker& w, Actor& a, std::uint32_t gen) {
  std::uint64_t word = a.word.load(std::memory_order_relaxed);
  for (;;) {
    if (!alive(word, gen)) return;
    const ActorState s = state(word);
    const std::uint64_t next =
        s == ActorState::parked ? with_state(next_wait(word), ActorState::active) : word | kToken;
    if (!a.word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                      std::memory_order_relaxed))
      continue;
    if (s == ActorState::parked) w.enqueue(&a);
    return;
  }
}

void kill_local(Worker& w, Actor& a, std::uint32_t gen) {
  std::uint64_t word = a.word.load(std::memory_order_relaxed);
  for (;;) {
    if (!alive(word, gen)) return;
    const ActorState s = state(word);
    const bool rouse = s == ActorState::parked || (s == ActorState::waiting && !(word & kHold));
    const std::uint64_t next =
        (rouse ? with_state(next_wait(word), ActorState::active) : word) | kKill;
    if (!a.word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                      std::memory_order_relaxed))
      continue;
    if (rouse) w.enqueue(&a);
    return;
  }
}

namespace {

struct CallCommand : Command {
  ActorCall call{};
};

void run_call(Command* command, Worker& w) {
  auto* c = static_cast<CallCommand*>(command);
  if (Actor* a = ActorTable::instance().find(c->call.pid))
    c->call.fn(w, *a, c->call.pid.generation);
  std::free(c);
}

struct WakeCommand : Command {
  Ticket ticket{};
};

void run_wake(Command* command, Worker& w) {
  auto* c = static_cast<WakeCommand*>(command);
  w.wake(c->ticket);
  std::free(c);
}

template <class C>
C* make_command(void (*run)(Command*, Worker&)) {
  void* memory = std::malloc(sizeof(C));  // freed on a worker: plain malloc, no cache
  SMARM_ASSERT(memory);
  auto* c = new (memory) C;
  c->run = run;
  return c;
}

}  // namespace

bool call_on_runtime(ActorCall call) {
  Actor* a = ActorTable::instance().find(call.pid.index);
  const auto lives = [&] {
    return alive(a->word.load(std::memory_order_seq_cst), call.pid.generation);
  };
  if (!a || !lives()) return false;
  Worker* w = current_worker();
  if (w && &w->runtime == a->runtime.load(std::memory_order_relaxed)) {
    call.fn(*w, *a, call.pid.generation);
    return true;
  }
  const ForeignCall foreign(*a->gate.load(std::memory_order_relaxed));
  if (!lives()) return false;
  auto* c = make_command<CallCommand>(run_call);
  c->call = call;
  foreign.runtime().post(c);
  return true;
}

void wake(Ticket ticket) {
  if (!ticket) return;
  Actor& a = ticket.actor();
  const auto waits = [&] {
    const std::uint64_t word = a.word.load(std::memory_order_seq_cst);
    return alive(word) && ticket.valid_in(word);
  };
  Worker* w = current_worker();
  if (w && &w->runtime == a.runtime.load(std::memory_order_relaxed)) {
    w->wake(ticket);
    return;
  }
  if (!waits()) return;
  const ForeignCall foreign(*a.gate.load(std::memory_order_relaxed));
  if (!waits()) return;
  auto* c = make_command<WakeCommand>(run_wake);
  c->ticket = ticket;
  foreign.runtime().post(c);
}

int unpark_pid(smarm_pid pid) {
  return call_on_runtime({pid, unpark_local}) ? SMARM_OK : SMARM_E_STALE;
}
int kill_pid(smarm_pid pid) {
  return call_on_runtime({pid, kill_local}) ? SMARM_OK : SMARM_E_STALE;
}

// ---- dying ----

namespace {

constexpr std::uint8_t kMostSwallowed = 3;
// By the clock, so that of many loops on a worker each is given up as soon; but each has had its
// quanta to come to a safe-point, whoever else ran.
constexpr std::uint32_t kKillPatienceMs = 1000;
constexpr std::uint16_t kKillQuanta = 4;

void kill_swallowed(void* arg) {
  auto* self = static_cast<Actor*>(arg);
  if (self->abandoned) return;  // the base of the stack has it
  self->dying = false;          // the next wait or safe-point unwinds again
  if (!std::exchange(self->relayed, false)) ++self->swallowed;
}

}  // namespace

void unwind_self() {
  Actor* self = current_actor();
  if (self->swallowed >= kMostSwallowed) {
    abandon_self(*self, make_killed_record(self->pid(),
                                           "killed; it caught the unwinding and did not rethrow, "
                                           "so it was abandoned and its stack is lost"));
  }
  self->dying = true;
  force_unwind(kill_swallowed, self);
}

void overran_kill(Actor& self) {
  const auto now =
      static_cast<std::uint32_t>(current_worker()->runtime.clock().now_ns() / 1'000'000);
  if (self.overrun == 0) self.overrun_since_ms = now;
  if (self.overrun < kKillQuanta) ++self.overrun;
  if (self.overrun == kKillQuanta && now - self.overrun_since_ms >= kKillPatienceMs)
    abandon_self(self, make_killed_record(self.pid(),
                                          "killed; it ran on without reaching a safe-point, so it "
                                          "was abandoned and its stack is lost"));
}

}  // namespace smarm
