// The control block of an actor.
//
// Blocks live in the actor table for ever (their memory is type-stable): a stale pointer or ticket
// meets a block of another generation or wait, never foreign memory. A block costs 256 bytes; the
// stack comes when the actor first runs. Wait nodes live here and never on a stack.
//
// 1. The owner of an actor in state `runnable` is the queue it is on; in `running` its worker; in
// `parked` and `waiting` nobody, until the compare-exchange that wakes it.
// 2. `link`, `wait_*` and `timer` belong to the owner, but where a structure's lock says otherwise
// (mutex waiters, timer wheels).
// 3. `join` decides who frees the block: the end of the actor and the end of the handle meet there.
#pragma once

#include "runtime/actor/state.hpp"
#include "runtime/context/context.hpp"
#include "runtime/context/eh_state.hpp"
#include "runtime/context/stack_pool.hpp"
#include "runtime/timer/wheel.hpp"

#include <smarm/smarm.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace smarm {

struct Actor;
struct ForeignGate;
struct FrozenStack;
class RuntimeCore;

// What an actor waits for, shown by tools.
enum class WaitKind : std::uint8_t {
  none,
  park,
  recv,
  send,
  select,
  lock,
  sleep,
  join,
  readable,
  writable,
  blocking
};
const char* wait_kind_name(WaitKind kind);

// A timer that ends an actor's wait.
struct WaitTimer : TimerNode {
  Ticket ticket{};
  std::uint32_t home = 0;  // the worker whose wheel holds it
};

// Where an actor has thrown, by return addresses.
struct ThrowTrace {
  std::size_t count = 0;
  void* frames[48] = {};
};

// What few actors have.
struct ActorExtras {
  std::string name{};
  smarm_timer* deadline = nullptr;
  std::vector<smarm_channel*> stop_channels{};  // one sender reference each
  std::unique_ptr<ThrowTrace> thrown{};         // the actor's own
};

// Held to take the extras off an ending actor, and by another thread while it uses an actor's
// (rank: extras).
std::mutex& extras_lock();

inline constexpr std::uint64_t kJoinNobody = 0;  // neither has ended
inline constexpr std::uint64_t kJoinDone = 1;    // the actor has ended; its handle frees the block
inline constexpr std::uint64_t kJoinDetached =
    2;  // the handle has ended; the actor frees the block
// Any greater value is the packed ticket of a joiner.

struct alignas(64) Actor {
  // Touched by every switch.
  Context context{};
  std::atomic<std::uint64_t> word{0};
  Actor* link = nullptr;
  EhState eh{};
  Stack stack{};
  std::uint32_t no_preempt = 0;
  std::uint8_t stack_class = 0;
  // Of the wait it is in, else of its last one. relaxed: shown by tools, decides nothing.
  std::atomic<WaitKind> waits_for{WaitKind::none};
  bool dying = false;   // its stack is being unwound
  bool pinned = false;  // preempted implicitly: resumes on the same worker

  std::uint16_t overrun = 0;  // how many times a signal stopped it after a kill

  // Constant from spawn to end. Atomic (relaxed) where a stranger with a stale pid may look.
  std::uint32_t index = 0;
  std::atomic<RuntimeCore*> runtime{nullptr};
  std::atomic<ForeignGate*> gate{nullptr};
  smarm_entry entry = nullptr;
  void* closure = nullptr;
  std::atomic<smarm_pid> supervisor{};
  std::atomic<std::uint64_t> group{0};

  // Shared.
  std::atomic<std::uint64_t> join{kJoinNobody};
  std::atomic<ActorExtras*> extras{nullptr};
  smarm_exit* exit = nullptr;
  std::uint8_t swallowed = 0;  // how many times a kill was caught and not rethrown
  bool abandoned = false;
  bool relayed = false;                // a generator caught the kill to pass it on to its consumer
  std::uint32_t overrun_since_ms = 0;  // when the first of `overrun` was
  // Implicit yields of this life, as the worker's counters tell them apart; they stop at the
  // highest number. Written by its worker; relaxed: shown by tools, decides nothing.
  std::atomic<std::uint32_t> preempted_alloc{0}, preempted_async{0};

  // One wait at a time.
  WaitTimer timer{};
  Actor* wait_prev = nullptr;
  Actor* wait_next = nullptr;
  // Meaning by the structure that is waited on, and so is the order; others may look, relaxed.
  std::atomic<std::uint64_t> wait_value{0};
  std::uint64_t wait_since = 0;  // of a lock; of an operation on the ring: its result

  FrozenStack* frozen = nullptr;       // in place of `stack` while that hibernates
  std::atomic<std::uint64_t> seen{0};  // what the hand of Hibernation saw last; relaxed: its alone

  smarm_pid pid() const {
    return {index, state_word::generation(word.load(std::memory_order_relaxed))};
  }
};

#if !SMARM_ASAN && !SMARM_TSAN
static_assert(sizeof(Actor) == 256);
#endif

// Where the frames of an actor with a stack begin. Stack tops are coloured: 8 offsets of a cache
// line, so that a thousand actors do not share one set of the cache. (More of them gain nothing,
// and take from the one page that a connection with a buffer of 2 KiB would do with.)
inline char* stack_start(const Actor& a) { return a.stack.top() - a.index % 8 * std::size_t{64}; }

}  // namespace smarm
