// The state word of an actor: one 64-bit atomic that says which life of the slot this is, which
// wait it is in, and where it stands.
//
//      63          41 40         9   8 7 6 5 4 3   2..0
//      | wait number | generation | M S H K W T | state |
//
// generation: the pid's; a new one each time the slot is used again. A slot whose generation is
// used up is retired, so a pid never comes to name another actor.
// wait number: counts wake-ups. A waker holds a Ticket with the number it saw; its compare-exchange
// fails when somebody else woke the actor first, so that of a message, a timer and a kill exactly
// one wins, and a late one does no harm.
// T, token: unpark() came while the actor was not parked; its next park() returns at once.
// W, woken: the wait was ended before the actor had left its stack; it must not be put to sleep.
// K, kill: asked to unwind.
// H, hold: the wait may not be ended by kill (a blocking job works on its stack).
// S, stop: asked to end by itself.
// M, mailbox: a supervisor channel is registered for this pid.
//
// Who may write: the actor itself while running, its successor on the worker (publishing), and
// wakers; always by compare-exchange, except in a runtime of one worker, where only that worker
// writes (foreign threads send it commands) and plain stores serve.
#pragma once

#include <cstdint>

namespace smarm {

struct Actor;

enum class ActorState : std::uint8_t {
  free = 0,  // the slot is on a free list
  active =
      1,  // running on a worker, leaving its stack, on exactly one queue, or between two of these
  parked = 2,  // left its stack in park(); on no queue; only unpark and kill wake it
  waiting =
      3,  // left its stack in a wait of the runtime; on no queue; only its ticket and kill wake it
  done = 4,  // ended; kept for its join handle; never runs again
};

namespace state_word {

inline constexpr std::uint64_t kStateMask = 7;
inline constexpr std::uint64_t kToken = 1u << 3;
inline constexpr std::uint64_t kWoken = 1u << 4;
inline constexpr std::uint64_t kKill = 1u << 5;
inline constexpr std::uint64_t kHold = 1u << 6;
inline constexpr std::uint64_t kStop = 1u << 7;
inline constexpr std::uint64_t kMailbox = 1u << 8;
inline constexpr unsigned kGenerationShift = 9;
inline constexpr unsigned kWaitShift = 41;  // on top: it wraps around by itself
inline constexpr std::uint64_t kWaitOne = std::uint64_t{1} << kWaitShift;
inline constexpr std::uint64_t kWaitField = ~(kWaitOne - 1);

constexpr ActorState state(std::uint64_t w) { return static_cast<ActorState>(w & kStateMask); }
constexpr std::uint32_t generation(std::uint64_t w) {
  return static_cast<std::uint32_t>(w >> kGenerationShift);
}
constexpr std::uint32_t wait_number(std::uint64_t w) {
  return static_cast<std::uint32_t>(w >> kWaitShift);
}
constexpr std::uint64_t make(std::uint32_t generation, std::uint64_t wait_field, ActorState s) {
  return (wait_field & kWaitField) | std::uint64_t{generation} << kGenerationShift |
         static_cast<std::uint64_t>(s);
}
constexpr std::uint64_t with_state(std::uint64_t w, ActorState s) {
  return (w & ~kStateMask) | static_cast<std::uint64_t>(s);
}
// What turns the one state into the other when it is added.
inline constexpr std::uint64_t kActiveToWaiting = static_cast<std::uint64_t>(ActorState::waiting) -
                                                  static_cast<std::uint64_t>(ActorState::active);
constexpr bool alive(std::uint64_t w) {
  return state(w) != ActorState::done && state(w) != ActorState::free;
}
constexpr bool alive(std::uint64_t w, std::uint32_t gen) {
  return generation(w) == gen && alive(w);
}
constexpr std::uint64_t next_wait(std::uint64_t w) { return w + kWaitOne; }

}  // namespace state_word

// The table of legal transitions; everything else is corruption. Picking and yielding change no
// word: runnable and running differ only in who owns the block, and a read-modify-write for each
// would cost more than the switch.
constexpr bool legal_transition(ActorState from, ActorState to) {
  using enum ActorState;
  switch (from) {
    case free: return to == active;                                   // spawn
    case active: return to == parked || to == waiting || to == done;  // park, wait, end
    case parked: return to == active;                                 // unpark, kill
    case waiting: return to == active;                                // ticket, kill
    case done: return to == free;                                     // handle dropped or joined
  }
  return false;
}

// The right to end one wait of one actor. A value: registered with a channel, a timer, an fd. One
// word: the address of the control block, which is never freed (64-byte aligned, 47 bits), and the
// wait number, where the state word has it.
class Ticket {
 public:
  constexpr Ticket() = default;
  // For the wait that the actor is in by this state word.
  Ticket(Actor& actor, std::uint64_t word)
      : value_(reinterpret_cast<std::uint64_t>(&actor) >> 6 | (word & state_word::kWaitField)) {}

  Actor& actor() const {
    return *reinterpret_cast<Actor*>((value_ & ((std::uint64_t{1} << kAddressBits) - 1)) << 6);
  }
  // Is the actor still in that wait?
  bool valid_in(std::uint64_t word) const { return (word ^ value_) >> state_word::kWaitShift == 0; }
  // 0 for no ticket; no other small number is one.
  constexpr std::uint64_t pack() const { return value_; }
  static constexpr Ticket unpack(std::uint64_t v) {
    Ticket t;
    t.value_ = v;
    return t;
  }
  constexpr explicit operator bool() const { return value_ != 0; }

 private:
  static constexpr unsigned kAddressBits = 47 - 6;
  std::uint64_t value_ = 0;
};
static_assert(state_word::kWaitShift == 47 - 6);

}  // namespace smarm
