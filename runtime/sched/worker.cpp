#include "runtime/sched/worker.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/base/signal_stack.hpp"
#include "runtime/context/frozen_stack.hpp"
#include "runtime/sched/actor_main.hpp"
#include "runtime/sched/runtime_core.hpp"
#include "runtime/sched/timers.hpp"
#include "runtime/trace/ring.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <mutex>
#include <utility>

extern "C" {
thread_local constinit smarm::Worker* smarm_tls_worker = nullptr;
thread_local constinit std::int32_t smarm_tls_countdown = 1;
}

namespace smarm {

using namespace state_word;

Worker::Worker(RuntimeCore& rt, std::uint32_t i, bool is_extra)
    : runtime(rt),
      index(i),
      extra(is_extra),
      trace_ring(TraceRegistry::instance().claim()),
      own_exclusive(rt.solo() && !extra ? Exclusive::claim() : nullptr),
      exclusive(own_exclusive),
      solo(rt.solo() && !extra),
      detour(extra && rt.config().workers == 1),
      stack_class(stack_class_of(rt.config().stack_size)),
      ready(!solo),
      fresh(!solo),
      stacks(StackPool::instance(), stack_class),
      random_state(0x9e3779b97f4a7c15ull * (i + 1)),
      wheel(rt.clock().now_ns()) {}

Worker::~Worker() {
  TraceRegistry::instance().release(trace_ring);
  Exclusive::release(own_exclusive);
}

void Worker::prepare_to_lend() {
  if (!solo.peek()) return;
  detour.poke(true);
  irregular.poke(true);
}

void Worker::stay() {
  if (solo.peek()) detour.poke(false);
}

void Worker::lend() {
  ready.lend();
  if (!solo.peek()) return;
  fresh.lend();
  exclusive.poke(nullptr);
  // Again: a pick that had begun before the detour may have taken the mark away.
  irregular.poke(true);
  solo.poke(false);
}

void Worker::open() {
  // acquire: pairs with leave(), for what was done inside with no section behind it.
  if (own_exclusive) static_cast<void>(own_exclusive->inside.load(kLightAcquire));
  ready.open();
}

void Worker::take_back() {
  if (runtime.config().workers != 1 || extra) return;
  ready.take_back(false);
  fresh.take_back(false);
  exclusive.poke(own_exclusive);
  solo.poke(true);
  detour.poke(false);
}

namespace {

// The kernel may be 50 us late with a wake-up, to save energy, unless a thread asks it not to.
class PunctualTimers {
 public:
  PunctualTimers() : before_(::prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)) {
    ::prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
  }
  ~PunctualTimers() {
    if (before_ > 0) ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(before_), 0, 0, 0);
  }
  PunctualTimers(const PunctualTimers&) = delete;
  PunctualTimers& operator=(const PunctualTimers&) = delete;

 private:
  const int before_;  // nanoseconds, of this thread
};

// A write to a pipe that nobody reads any more is an error to who wrote, and no SIGPIPE: that would
// end the process for one actor. (Sockets are told so with each write.)
class NoBrokenPipes {
 public:
  NoBrokenPipes() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoBrokenPipes() {
    if (sigismember(&before_, SIGPIPE) == 1) return;
    const timespec at_once{};
    while (::sigtimedwait(&pipe_, nullptr, &at_once) == SIGPIPE) {
    }
    ::pthread_sigmask(SIG_UNBLOCK, &pipe_, nullptr);
  }
  NoBrokenPipes(const NoBrokenPipes&) = delete;
  NoBrokenPipes& operator=(const NoBrokenPipes&) = delete;

 private:
  sigset_t pipe_, before_;
};

}  // namespace

void Worker::run() {
  const PunctualTimers timers;
  const NoBrokenPipes pipes;
  const SignalStack signals;
  adopt_thread(scheduler);
  eh = thread_eh_state();
  smarm_tls_countdown =
      static_cast<std::int32_t>(runtime.alloc_interval.load(std::memory_order_relaxed));
  smarm_tls_worker = this;
  thread.store(::gettid(), std::memory_order_relaxed);
  in_runtime = 1;
  irregular = true;
  for (;;) {
    if (runtime.strained()) [[unlikely]]
      runtime.settle(*this);
    Actor* a = pick();
    if (!a) a = runtime.find_work(*this);
    if (!a) break;
    current = a;
    slice_start = 0;
    counters.resumes.add();
    scheduler_eh = *eh;
    *eh = a->eh;
    switch_context(scheduler, a->context);
    finish_switch();
  }
  bury({}, {});
  thread.store(0, std::memory_order_relaxed);
  in_runtime = 0;
  smarm_tls_worker = nullptr;
}

// ---- leaving ----

// In a runtime of one worker.
[[gnu::noinline]] void Worker::go_idle(Actor* self) {
  current = nullptr;
  self->eh = *eh;
  *eh = scheduler_eh;
  switch_context(self->context, scheduler);
}

Context& Worker::successor() {
  Actor* next = pick();
  slice_start = 0;
  current = next;
  if (!next) {
    *eh = scheduler_eh;
    return scheduler;
  }
  counters.resumes.add();
  *eh = next->eh;
  return next->context;
}

void Worker::finish_switch() {
  switch (std::exchange(after, After::nothing)) {
    case After::queue: return finish<After::queue>(after_actor);
    case After::pin: return finish<After::pin>(after_actor);
    case After::publish_wait: return finish<After::publish_wait>(after_actor);
    case After::publish_park: return finish<After::publish_park>(after_actor);
    case After::nothing: return;
  }
}

void Worker::publish_park(Actor* a) {
  std::uint64_t word = a->word.load(std::memory_order_relaxed);
  for (;;) {
    const bool stay = word & (kToken | kKill);
    const std::uint64_t next = stay ? next_wait(word) & ~(kToken | kWoken)
                                    : with_state(word & ~kWoken, ActorState::parked);
    if (solo) {
      a->word.store(next, std::memory_order_relaxed);
    } else if (!a->word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                              std::memory_order_relaxed)) {
      continue;
    }
    if (stay) enqueue(a);
    return;
  }
}

// ---- queues ----

void Worker::share() { runtime.share(*this); }

// An actor that yields to nobody stays, but for what the scheduler has to do.
bool Worker::must_settle() const { return detour || (extra && runtime.surplus()); }

// The deque is full: its oldest half goes where every worker finds it once it has no newer ones.
std::int64_t Worker::make_room_for(Actor* a) {
  for (int i = 0; i < FreshDeque::kSize / 2; ++i) {
    Actor* old = fresh.steal();
    if (!old) break;
    runtime.inject().push(old);
  }
  const std::int64_t held = fresh.push(a);
  SMARM_ASSERT(held > 0);
  return held;
}

// Who spawns on and on gives way at its next tick: children that end soon hand their stacks on to
// the next ones. Counted by turn, not by how many are waiting: in a tree of spawns, where every
// actor makes a few, giving way would walk it breadth-first.
void Worker::give_way_to_children() {
  spawned_in_turn = 0;
  slice_start = kOverdue;
  smarm_tls_countdown = 1;
}

[[gnu::noinline]] Actor* Worker::pick_slowly() {
  leaving = current;
  current = nullptr;  // what runs below runs for nobody
  if (ticks_left == 0) maintain();
  leaving = nullptr;
  return pick_among_all();
}

// yield_alone where the short way does not serve.
[[gnu::noinline]] void Worker::yield_slowly(Actor* self) {
  ready.push(self);
  leave_alone(self);
}

// `next` was taken from the ring, and maintenance is due or it has no stack.
[[gnu::noinline]] void Worker::yield_to(Actor* self, Actor* next) {
  leaving = current;
  current = nullptr;  // what runs below runs for nobody
  if (ticks_left == 0) maintain();
  leaving = nullptr;
  if (!next->stack && !prepare(next)) next = pick_among_all();  // finds self at the latest
  if (next == self) {
    current = self;
  } else {
    hand_over(self, next);
  }
}

[[gnu::noinline]] Actor* Worker::start_or_pick(Actor* a) {
  current = nullptr;  // as above
  return a && prepare(a) ? a : pick_among_all();
}

// A preempted actor has had a timeslice. Those that are ready when it loses its worker go first,
// each once, and then the one that was preempted longest ago: a crowd of long-running actors delays
// a woken one by what is left of one timeslice, not by a timeslice each. Only the first preemption
// after each such turn lets the others pass, so nobody is passed for ever.
Actor* Worker::pop_pinned() {
  Actor* a = pinned.pop();
  if (a) {
    pinned_turn = ready.end_position();
    passing = Passing::not_yet;
  }
  return a;
}

// `ready` is first in, first out; `pinned` takes turns with it as above. Fresh actors take turns
// with them, as many at a time as there are for each of the others: neither starves the other, and
// a crowd of fresh ones is not kept waiting by a single spawner. Of the fresh ones the newest goes
// first, but once in kOldestWait the oldest, over which others may be spawned for ever; not more
// often, for in a tree of spawns each such turn opens one more branch.
Actor* Worker::pick_among_all() {
  if (detour && after != After::nothing) return nullptr;
  for (;;) {
    Actor* a = nullptr;
    if (passing == Passing::now) {  // behind the maintenance, which has made some ready
      pinned_turn = ready.end_position();
      passing = Passing::done;
    }
    const std::size_t others = ready.size() + pinned.size();
    if (others == 0) {
      fresh_turns = 1;
    } else if (new_round) {
      const std::size_t waiting = fresh.size();
      fresh_turns = waiting > others ? waiting / others : 1;
    }
    new_round = false;
    if (fresh_turns > 0) a = std::exchange(oldest_due, false) ? oldest_fresh() : fresh.pop();
    if (a) {
      if (others != 0) --fresh_turns;
    } else {
      new_round = true;
      if (ready.reached(pinned_turn)) a = pop_pinned();
      if (!a) a = ready.pop();
      if (!a) a = pop_pinned();
    }
    irregular = fresh.size() != 0 || !pinned.empty() || detour;
    if (!a) return nullptr;
    if (a->stack || prepare(a)) [[likely]]
      return a;
  }
}

Actor* Worker::oldest_fresh() {
  Actor* a = runtime.inject().pop();
  return a ? a : fresh.steal();
}

// Gives an actor its stack: the one that it had before it hibernated, or its first. False: there is
// none to be had, and the actor has ended with an error that says so.
bool Worker::prepare(Actor* a) {
  if (a->frozen) {
    a->stack = thaw_stack(std::exchange(a->frozen, nullptr));
    counters.thawed.add();
    return true;
  }
  a->stack = stacks.acquire(a->stack_class);
  if (!a->stack) {
    fail_unstarted(*a, *this, last_error());
    return false;
  }
  make_context(a->context, a->stack.bottom(), stack_start(*a), &actor_main, a);
  return true;
}

// ---- timers ----

void Worker::arm_wait_timer(Actor& a, Ticket ticket, std::uint64_t deadline_ns) {
  a.timer.ticket = ticket;
  a.timer.home = index;
  a.timer.ends_wait = true;
  OptionalLock guard(timer_lock, !solo);
  wheel.arm(a.timer, deadline_ns);
}

bool Worker::cancel_timer(TimerNode& timer) {
  OptionalLock guard(timer_lock, !solo);
  return wheel.cancel(timer);
}

// Timers come due in batches, and who has slept long has its stack in no cache and no TLB: what it
// goes on with is fetched while the rest of the batch is woken. It may have begun to run elsewhere:
// what is read is a hint.
[[gnu::no_sanitize("thread")]] void prefetch_stack(const Actor& a) {
  const auto* sp = static_cast<const char*>(a.context.sp);
  for (std::size_t line = 0; line < 6; ++line) __builtin_prefetch(sp + line * 64);
}

// Both ends of the stack: the frames of the wait, and those of the actor's own outermost functions,
// which may lie a buffer's size apart. Those actors may belong to a thief by now, who writes what
// is read here: it is a hint.
void Worker::fetch_next() const {
#if !SMARM_TSAN
  if (const Actor* later = ready.likely_next(1)) {
    __builtin_prefetch(later);
    __builtin_prefetch(&later->index);
    __builtin_prefetch(&later->wait_value);
  }
  const Actor* next = ready.likely_next(0);
  if (!next || !next->stack) return;
  prefetch_stack(*next);
  const char* start = stack_start(*next);
  for (std::size_t line = 1; line <= 6; ++line) __builtin_prefetch(start - line * 64);
#endif
}

// One at a time, so that no waker is called under the lock and a due timer can be cancelled until
// its turn comes.
void Worker::fire_due_timers(Worker& on, std::uint64_t now_ns) {
  bool advanced = false;
  for (;;) {
    TimerNode* due;
    Ticket ticket;
    {
      OptionalLock guard(timer_lock, !solo);
      if (!advanced) wheel.advance(now_ns);
      advanced = true;
      due = wheel.pop_due();
      if (!due) return;
      if (due->ends_wait)
        ticket = static_cast<WaitTimer*>(due)
                     ->ticket;  // the actor may arm it anew once the lock is free
    }
    on.counters.timers_fired.add();
    if (ticket) {
      const Actor& a = ticket.actor();
      if (on.wake(ticket)) prefetch_stack(a);
    } else {
      fire_timer(*due);
    }
  }
}

std::uint64_t Worker::next_timer_ns() {
  OptionalLock guard(timer_lock, !solo);
  return wheel.next_ns();
}

void Worker::maintain() {
  const std::uint64_t now = runtime.clock().now_ns();
  // As many switches between two looks as fit into about 50 us, so that timers and IO are as
  // punctual beside actors that run long as beside ones that run short.
  const std::uint64_t elapsed = now - last_maintenance_ns;
  if (elapsed > 100'000 && tick_interval > 1) {
    tick_interval = tick_interval / 2;
  } else if (elapsed < 25'000 && tick_interval < kMaxTicks) {
    tick_interval = tick_interval * 2 < kMaxTicks ? tick_interval * 2 : kMaxTicks;
  }
  ticks_left = tick_interval;
  last_maintenance_ns = now;
  if (now - oldest_went_ns >= kOldestWait) {
    oldest_went_ns = now;
    oldest_due = true;
  }
  runtime.run_commands(*this);
  if (!wheel.empty()) fire_due_timers(*this, now);
  if (runtime.knows_io.load(std::memory_order_relaxed)) runtime.look_at_poller(*this, now);
  if (fresh.size() == 0) runtime.take_injected(*this);
  runtime.hibernation().look(*this, now);
  if (runtime.strained()) [[unlikely]]
    runtime.stand_in(*this, now);
}

}  // namespace smarm
