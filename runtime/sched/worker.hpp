// A worker: an OS thread that runs actors.
//
// An actor that leaves its stack switches straight to the next runnable actor; the scheduler's own
// stack is visited only when the local queues are empty. What must happen after an actor has left
// its stack (publish its wait, queue it again, free the stack) is recorded in the worker and done
// by whoever runs next: finish_switch().
//
// 1. `in_runtime` counts nested runtime sections of this thread. At every switch it is exactly 1:
// the section of the one who left is ended by the one who comes.
// 2. Fields up to "shared" are touched by the worker's own thread only; the monitor looks at those
// that are Peeked, and sets some when that thread is asleep in a system call of user code
// (sched/monitor.hpp has the protocol).
// 3. A worker of a solo runtime has plain stores for all that its actors share, and they leave
// their stacks by leave_alone(), behind which nobody finishes what the one before has left to do.
// So in a runtime that was solo once (`detour`) actors leave to the scheduler, which does.
#pragma once

#include "runtime/actor/actor.hpp"
#include "runtime/actor/table.hpp"
#include "runtime/base/block_cache.hpp"
#include "runtime/base/peeked.hpp"
#include "runtime/base/spinlock.hpp"
#include "runtime/context/context.hpp"
#include "runtime/sched/current.hpp"
#include "runtime/sched/exclusive.hpp"
#include "runtime/sched/forked.hpp"
#include "runtime/sched/run_queue.hpp"
#include "runtime/timer/wheel.hpp"

#include <atomic>
#include <cstdint>

namespace smarm {

class RuntimeCore;

// Written by one thread, read by any: a plain increment, never torn.
class Counter {
 public:
  void add(std::uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void sub(std::uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct WorkerCounters {
  Counter resumes, parks, yields, preempted_alloc, preempted_async, steals, wakes, spawned, exited,
      idle_ns, timers_fired, polls, hibernated, thawed;
  Counter blocked;  // the monitor's
};

class alignas(kCacheLine) Worker {
 public:
  Worker(RuntimeCore& runtime, std::uint32_t index, bool extra);
  ~Worker();

  // The thread's life as a worker: runs actors until the runtime stops.
  void run();

  // ---- leaving a stack (current actor's thread, in a section) ----
  enum class After : std::uint8_t { nothing, queue, pin, publish_wait, publish_park };
  template <After how>
  void leave();  // comes back when the actor is resumed, perhaps on another worker
  // The same for a solo runtime's actor that has been queued or put to sleep already: nobody can
  // resume it before its registers are saved.
  void leave_alone(Actor* self);
  Context& successor();  // the current actor has ended (`current` is null): who goes on
  void finish_switch();  // first thing on the other side
  // An ended actor's stack is in use until the switch: it is freed when the next one ends.
  // An abandoned actor's is lost: it has none to give.
  void bury(Stack stack, const Context& context) {
    if (dead_stack) stacks.release(dead_stack);
    forget_context(dead_context);
    dead_stack = stack;
    dead_context = context;
  }

  // ---- making actors runnable (this thread, in a section) ----
  void enqueue(Actor* a) {  // woken or yielding: to the tail
    ready.push(a);
    if (!solo && ready.ring_size() >= 2) share();
  }
  // The current actor is about to be preempted: those that are ready then go before the pinned
  // ones.
  void let_pass() {
    if (passing == Passing::not_yet) passing = Passing::now;
  }
  void enqueue_fresh(Actor* a);       // spawned: runs before older ones
  std::int64_t hold_fresh(Actor* a);  // spawned earlier, by others; how many there are now
  bool has_local_work() const { return !ready.empty() || !pinned.empty() || fresh.size() != 0; }

  // Ends a wait and queues its actor. False: somebody was faster. Works for the actors of this
  // worker's runtime.
  bool wake(Ticket ticket) { return solo ? wake_alone(ticket) : wake_among_many(ticket); }
  bool wake_alone(Ticket ticket);  // of a solo runtime

  // ---- timers: the owner or another worker that looks after this one's wheel ----
  void arm_wait_timer(Actor& a, Ticket ticket, std::uint64_t deadline_ns);
  bool cancel_timer(TimerNode& timer);  // of this worker's wheel; false: it has fired
  void fire_due_timers(Worker& on, std::uint64_t now_ns);  // of this worker's wheel, onto `on`
  std::uint64_t next_timer_ns();

  // Fetches the stack of the actor that goes next, into the cache. For one that is about to do a
  // system call: it hides the misses behind that.
  void fetch_next() const;

  // Timers, commands, IO and the inject queue, every so many switches and after each used-up
  // timeslice.
  void maintain();
  // The next runnable actor, with a stack; nullptr when the local queues are empty. `current` may
  // be null afterwards.
  Actor* pick();

  // ---- what the monitor does to a worker that blocks its thread, in this order ----
  void prepare_to_lend();  // changes nothing but the time a switch takes
  void stay();             // the opposite
  void lend();             // to the shared protocol
  void open();             // others may take what only the owner may otherwise
  // All of it back, for the one worker of a runtime. On that worker, or before it runs; nobody else
  // is about.
  void take_back();

  RuntimeCore& runtime;
  const std::uint32_t index;
  const bool extra;  // made to take the place of one that blocks its thread
  const std::size_t trace_ring;
  Exclusive* const own_exclusive;  // nullptr but for the one worker of a runtime
  Peeked<Exclusive*> exclusive;    // nullptr: this worker has nothing to itself
  Peeked<bool> solo;
  Peeked<bool> detour{false};
  const std::uint8_t stack_class;  // of actors that do not ask for another
  Peeked<Actor*> current{nullptr};
  Actor* leaving = nullptr;  // during maintain(): the actor of a solo runtime that runs it on its
                             // way out, its wait published and its stack in use
  Peeked<std::uint32_t> in_runtime{0};
  std::uint32_t ticks_left = kMaxTicks;
  std::uint64_t slice_start = 0;  // TSC at the first look during this turn; 0: not looked yet
  EhState* eh = nullptr;
  RunQueue ready;
  ActorList pinned;                   // preempted: they resume on this thread
  std::uint32_t polled_position = 0;  // in `ready`, when it looked at the poller last
  std::uint32_t pinned_turn = 0;      // the position in `ready` that the first of them comes after
  enum class Passing : std::uint8_t { not_yet, now, done } passing = Passing::not_yet;
  FreshDeque fresh;
  Peeked<bool> irregular{false};  // something may be in `fresh` or `pinned`, or it is on a detour
  std::size_t fresh_turns = 1;    // fresh actors that go before the next of the others
  bool new_round = false;         // one of the others has just gone
  bool oldest_due = false;        // the oldest fresh one goes next
  std::uint32_t retrying = 0;     // actors that try again each turn, for an OS lock
  std::uint64_t oldest_went_ns = 0;
  std::uint64_t spawner_turn = 0;  // `resumes` when the present spawner's turn began
  std::uint32_t spawned_in_turn = 0;
  After after = After::nothing;
  Actor* after_actor = nullptr;
  Stack dead_stack{};
  Context dead_context{};
  Context scheduler{};
  EhState scheduler_eh{};
  BlockCache blocks;
  StackCache stacks;
  ActorCache actors;
  WorkerCounters counters;
  // IO waits that began here less those that ended here. While there are any, in all workers
  // together, the runtime does not end.
  Counter io_waits;
  std::uint32_t tick_interval = kMaxTicks;
  std::uint64_t last_maintenance_ns = 0;
  std::uint64_t random_state;

  // ---- shared ----
  alignas(kCacheLine) Spinlock timer_lock;  // rank: timers. Not taken in a runtime of one worker
  Wheel wheel;
  alignas(kCacheLine) std::atomic<std::uint32_t> wake_word{0};  // futex: 1 once notified
  bool idle_listed = false;                                     // under the runtime's idle lock
  bool deputy = false;                                          // as in_poller
  // For the monitor and debuggers: gettid() while it runs, else 0, and whether it sleeps for want
  // of work. relaxed: hints.
  std::atomic<std::int32_t> thread{0};
  std::atomic<bool> resting{false};
  // Written under the idle lock; relaxed: a hint elsewhere. Others look after the timers and, when
  // it is blocked, after all the actors of one that is not on duty.
  enum class Duty : std::uint8_t { on, blocked, off };
  std::atomic<Duty> duty{Duty::on};
  bool in_poller = false;          // written while it is not listed, read under the idle lock
  std::uint32_t quiet_naps = 0;    // bounded sleeps in a row with every worker idle
  std::uint32_t watched_head = 0;  // what the holder of the poller saw last
  std::int64_t watched_fresh = 0;

  static constexpr std::uint32_t kMaxTicks = 61;
  static constexpr std::uint64_t kOverdue = 1;             // as slice_start: long ago
  static constexpr std::uint32_t kCrowd = 128;             // children
  static constexpr std::uint64_t kOldestWait = 1'000'000;  // ns

 private:
  friend class Hibernation;  // publishes the waits of the actors that it takes
  bool prepare(Actor* a);
  template <After how>
  void leave_among_many(Actor* self);
  template <bool alone>
  Actor* pick_from_ring();
  Actor* pick_slowly();
  Actor* pick_among_all();
  Actor* start_or_pick(Actor* a);
  Actor* oldest_fresh();
  void yield_alone(Actor* self);
  void yield_slowly(Actor* self);
  void yield_to(Actor* self, Actor* next);
  void hand_over(Actor* self, Actor* next);
  void go_idle(Actor* self);
  bool must_settle() const;
  void share();
  std::int64_t make_room_for(Actor* a);
  void give_way_to_children();
  template <After how>
  void finish(Actor* a);
  void publish_wait(Actor* a);
  void publish_park(Actor* a);
  Actor* pop_pinned();
  bool wake_among_many(Ticket ticket);
};

template <bool alone>
[[gnu::always_inline]] inline Actor* Worker::pick_from_ring() {
  if (--ticks_left == 0 || irregular || ready.ring_size() == 0) [[unlikely]]
    return pick_slowly();
  Actor* a = alone ? ready.pop_ring() : ready.pop_among_many();
  if ((alone || a) && a->stack) [[likely]]
    return a;
  return start_or_pick(a);
}

inline Actor* Worker::pick() { return solo ? pick_from_ring<true>() : pick_from_ring<false>(); }

inline std::int64_t Worker::hold_fresh(Actor* a) {
  irregular = true;
  const std::int64_t held = fresh.push(a);
  return held != 0 ? held : make_room_for(a);
}

inline void Worker::enqueue_fresh(Actor* a) {
  const std::int64_t held = hold_fresh(a);
  if (const std::uint64_t turn = counters.resumes.get(); turn != spawner_turn) {
    spawner_turn = turn;
    spawned_in_turn = 0;
  }
  if (++spawned_in_turn == kCrowd) [[unlikely]]
    give_way_to_children();
  if (!solo && held >= 2) share();
}

// The actor is off its stack, or nobody can resume it before it is. From here on a waker may have
// it. release: publishes what the actor wrote before; pairs with the acquire in wake.
inline void Worker::publish_wait(Actor* a) {
  using namespace state_word;
  std::uint64_t word = a->word.load(std::memory_order_relaxed);
  for (;;) {
    const bool stay = (word & kWoken) || ((word & kKill) && !(word & kHold));
    const std::uint64_t next = stay ? word & ~kWoken : with_state(word, ActorState::waiting);
    if (solo) {
      a->word.store(next, std::memory_order_relaxed);
    } else if (!a->word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                              std::memory_order_relaxed)) {
      continue;
    }
    if (stay) [[unlikely]]
      enqueue(a);
    return;
  }
}

template <Worker::After how>
inline void Worker::finish(Actor* a) {
  if constexpr (how == After::queue) {
    enqueue(a);
  } else if constexpr (how == After::pin) {
    pinned.push(a);
    irregular = true;
  } else if constexpr (how == After::publish_wait) {
    publish_wait(a);
  } else if constexpr (how == After::publish_park) {
    publish_park(a);
  }
}

[[gnu::always_inline]] inline void Worker::leave_alone(Actor* self) {
  slice_start = 0;
  Actor* next = pick_from_ring<true>();
  if (next == self) [[unlikely]] {  // yielded to nobody, or woken already
    current = self;
    return;
  }
  if (!next) [[unlikely]]
    return go_idle(self);
  hand_over(self, next);
}

[[gnu::always_inline]] inline void Worker::hand_over(Actor* self, Actor* next) {
  current = next;
  counters.resumes.add();
  self->eh = *eh;
  *eh = next->eh;
  switch_context(self->context, next->context);
}

// leave_alone for one that stays runnable.
[[gnu::always_inline]] inline void Worker::yield_alone(Actor* self) {
  if (irregular || !ready.can_rotate()) [[unlikely]]
    return yield_slowly(self);
  slice_start = 0;
  Actor* next = ready.rotate(self);
  if (--ticks_left == 0 || !next->stack) [[unlikely]]
    return yield_to(self, next);
  hand_over(self, next);
}

template <Worker::After how>
[[gnu::always_inline]] inline void Worker::leave() {
  Actor* self = current;
  if (!solo) return leave_among_many<how>(self);
  if constexpr (how == After::queue) {
    yield_alone(self);
  } else {
    finish<how>(self);
    leave_alone(self);
  }
}

template <Worker::After how>
[[gnu::noinline]] void Worker::leave_among_many(Actor* self) {
  current = nullptr;  // what runs below runs for nobody
  slice_start = 0;
  after_actor = self;
  after = how;
  Actor* next = pick_from_ring<false>();
  if (!next && how == After::queue && !must_settle()) {
    after = After::nothing;
    current = self;
    return;
  }
  current = next;
  self->eh = *eh;
  if (next) [[likely]] {
    counters.resumes.add();
    *eh = next->eh;
    switch_context(self->context, next->context);
  } else {
    *eh = scheduler_eh;
    switch_context(self->context, scheduler);
  }
  Worker* here = current_worker();
  if (here->after == After::publish_wait) [[likely]] {
    here->after = After::nothing;
    here->publish_wait(here->after_actor);
  } else {
    here->finish_switch();
  }
}

// No other thread writes the words of a solo runtime's actors.
inline bool Worker::wake_alone(Ticket ticket) {
  using namespace state_word;
  Actor& a = ticket.actor();
  const std::uint64_t word = a.word.load(std::memory_order_relaxed);
  if (!ticket.valid_in(word)) return false;
  const ActorState s = state(word);
  if (s == ActorState::waiting) [[likely]] {
    a.word.store(next_wait(word) - kActiveToWaiting, std::memory_order_relaxed);
    ready.push(&a);
    return true;
  }
  if (s != ActorState::active) return false;
  a.word.store(next_wait(word) | kWoken, std::memory_order_relaxed);
  return true;
}

inline bool Worker::wake_among_many(Ticket ticket) {
  using namespace state_word;
  Actor& a = ticket.actor();
  std::uint64_t word = a.word.load(std::memory_order_relaxed);
  for (;;) {
    if (!ticket.valid_in(word)) return false;
    const ActorState s = state(word);
    if (s != ActorState::waiting && s != ActorState::active) [[unlikely]]
      return false;
    const std::uint64_t next =
        s == ActorState::waiting ? next_wait(word) - kActiveToWaiting : next_wait(word) | kWoken;
    // acquire on success: pairs with publish_*; the actor's context is saved. release: what the
    // waker wrote is seen by the woken.
    if (!a.word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                      std::memory_order_relaxed))
      continue;
    if (s == ActorState::waiting) {
      enqueue(&a);
    }
    return true;
  }
}

// The opposite inside a section: user code that the runtime calls back.
class OutsideSection {
 public:
  OutsideSection() {
    if (Worker* w = current_worker()) --w->in_runtime;
  }
  ~OutsideSection() {
    if (Worker* w = current_worker()) ++w->in_runtime;
  }
  OutsideSection(const OutsideSection&) = delete;
  OutsideSection& operator=(const OutsideSection&) = delete;
};

// A stretch of runtime code on a worker: no tick of the allocator preempts in it.
class Section {
 public:
  explicit Section(Worker* w) {
    if (w) {
      ++w->in_runtime;
    } else {
      must_have_runtime();
    }
  }
  ~Section() {
    if (Worker* w = current_worker()) --w->in_runtime;  // perhaps another worker than at the start
  }
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;
};

}  // namespace smarm
