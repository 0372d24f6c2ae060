#include "runtime/sched/hibernation.hpp"

#include "runtime/actor/table.hpp"
#include "runtime/base/clock.hpp"
#include "runtime/sched/runtime_core.hpp"
#include "runtime/sched/worker.hpp"

#include <algorithm>
#include <span>

namespace smarm {

using namespace state_word;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kLongestMs = UINT32_MAX / 4;  // times are compared modulo 2^32 ms

// What the hand leaves with an actor: its word without the generation, and when that was seen
// first. The wait number in it changes with each wait, so an equal one is the same wait, but for
// one in 2^23.
std::uint32_t in_short(std::uint64_t word) {
  constexpr std::uint64_t low = (std::uint64_t{1} << kGenerationShift) - 1;
  return wait_number(word) << kGenerationShift | static_cast<std::uint32_t>(word & low);
}
static_assert(64 - kWaitShift + kGenerationShift == 32);

struct Seen {
  std::uint32_t word;
  std::uint32_t ms;
  static Seen unpack(std::uint64_t v) {
    return {static_cast<std::uint32_t>(v), static_cast<std::uint32_t>(v >> 32)};
  }
  std::uint64_t pack() const { return std::uint64_t{ms} << 32 | word; }
};

// In place of the word: it was frozen in this wait, or cannot be. No word has such a state.
constexpr std::uint32_t done_with(std::uint32_t word) {
  return word | static_cast<std::uint32_t>(kStateMask);
}

std::uint32_t in_ms(std::uint64_t ns) {
  return ns == 0 ? 0 : static_cast<std::uint32_t>(std::min((ns - 1) / kMs + 1, kLongestMs));
}

bool lies_in(const Stack& s, const void* address) {
  return address >= s.bottom() && address < s.top();
}

}  // namespace

Hibernation::Hibernation(RuntimeCore& runtime, std::uint64_t after_ns)
    : runtime_(runtime),
      after_ms_(in_ms(after_ns)),
      round_ns_(std::max(after_ms_ * kMs / 2, kMs)),
      due_ns_(on() ? 0 : kNever) {}

std::uint64_t Hibernation::parks() const {
  std::uint64_t sum = 0;
  for (const auto& w : runtime_.workers()) sum += w->counters.parks.get();
  return sum;
}

bool Hibernation::look_while_idle(Worker& w) {
  if (!on()) return false;
  const std::uint64_t now = runtime_.clock().now_ns();
  return now >= due_ns_.load(std::memory_order_relaxed) && sweep(w, now, kIdleSlice);
}

// Who parks after this has asked is no longer idle when it is asked again.
std::uint64_t Hibernation::next_ns() const {
  if (!on() || quiet_parks_.load(std::memory_order_relaxed) == parks()) return kNever;
  // Due already: another worker is at it.
  return std::max(due_ns_.load(std::memory_order_relaxed), runtime_.clock().now_ns() + kMs);
}

// True: this worker moved the hand, and the round is not at its end.
bool Hibernation::sweep(Worker& w, std::uint64_t now_ns, Slice most) {
  // acquire and release: the hand's fields pass from one mover to the next.
  if (moving_.exchange(true, std::memory_order_acquire)) return false;
  if (hand_ == 1) {
    round_began_ns_ = now_ns;
    round_parks_ = parks();
    candidates_ = false;
  }
  const ActorTable& table = ActorTable::instance();
  const std::uint32_t end = table.end();
  const std::uint32_t stop = end - hand_ > most.blocks ? hand_ + most.blocks : end;
  const auto now_ms = static_cast<std::uint32_t>(now_ns / kMs);
  std::size_t n = 0;
  for (; hand_ < stop && n < most.freezes; ++hand_)
    n += take(w, *table.find(hand_), now_ms, taken_[n]);
  if (n) freeze(w, n);
  const bool finished = hand_ >= end;
  if (finished) {
    hand_ = 1;
    quiet_parks_.store(candidates_ ? UINT64_MAX : round_parks_, std::memory_order_relaxed);
    due_ns_.store(round_began_ns_ + round_ns_, std::memory_order_relaxed);
  }
  moving_.store(false, std::memory_order_release);
  return !finished;
}

// True: the actor was ripe and has been taken.
bool Hibernation::take(Worker& w, Actor& a, std::uint32_t now_ms, Taken& taken) {
  std::uint64_t word = a.word.load(std::memory_order_relaxed);
  const ActorState s = state(word);
  if (s != ActorState::parked && s != ActorState::waiting) return false;
  const Seen seen = Seen::unpack(a.seen.load(std::memory_order_relaxed));
  const std::uint32_t brief = in_short(word);
  if (seen.word == done_with(brief)) return false;
  // The runtime is the one of this life: the exchange below demands that the word has not changed.
  if (a.runtime.load(std::memory_order_relaxed) != &runtime_ || word & (kHold | kKill))
    return false;
  if (seen.word != brief) {
    a.seen.store(Seen{brief, now_ms}.pack(), std::memory_order_relaxed);
    candidates_ = true;
    return false;
  }
  if (static_cast<std::int32_t>(now_ms - seen.ms) <= static_cast<std::int32_t>(after_ms_)) {
    candidates_ = true;
    return false;
  }
  // From here on it is ours, and wakers leave marks. acquire: its saved registers, published with
  // the wait.
  const std::uint64_t ours = with_state(word, ActorState::active);
  if (w.solo) {
    a.word.store(ours, std::memory_order_relaxed);
  } else if (!a.word.compare_exchange_strong(word, ours, std::memory_order_acq_rel,
                                             std::memory_order_relaxed)) {
    return false;
  }
  a.seen.store(Seen{done_with(brief), now_ms}.pack(), std::memory_order_relaxed);
  taken = {&a, s};
  return true;
}

void Hibernation::freeze(Worker& w, std::size_t taken) {
  std::size_t n = 0;
  for (const Taken& t : std::span(taken_).first(taken)) {
    Actor& a = *t.actor;
    // Not one that was frozen in this wait already, nor one that waits inside a generator's body,
    // Not one that was frozen in this wait already, nor one that waits inside a generator's body,
    // on that stack, or in its red zone, being unwound for an overflow; nor the one on whose stack
    // this runs.
    if (a.stack && !a.dying && &a != w.leaving && lies_in(a.stack, a.context.sp))
      stacks_[n++] = {a.stack, a.context.sp, stack_start(a), &a, nullptr};
  }
  freeze_stacks(std::span(stacks_).first(n));
  for (const StackToFreeze& s : std::span(stacks_).first(n)) {
    if (!s.frozen) continue;
    auto* a = static_cast<Actor*>(s.owner);
    a->frozen = s.frozen;
    a->stack = Stack{};
    w.counters.hibernated.add();
  }
  for (const Taken& t : std::span(taken_).first(taken)) {
    if (t.from == ActorState::waiting) {
      w.publish_wait(t.actor);
    } else {
      w.publish_park(t.actor);
    }
  }
}

}  // namespace smarm
