#include "runtime/timer/wheel.hpp"

#include "runtime/base/assert.hpp"

#include <bit>
#include <iterator>

namespace smarm {

namespace {
constexpr std::uint64_t tick_of(std::uint64_t ns) {  // rounded up, so that nothing fires early
  constexpr std::uint64_t mask = (std::uint64_t{1} << Wheel::kTickShift) - 1;
  return (ns >> Wheel::kTickShift) + ((ns & mask) != 0);
}
}  // namespace

void Wheel::link(TimerNode& t, std::uint64_t tick) {
  if (tick < now_) tick = now_;
  const std::uint64_t differing = tick ^ now_;
  const unsigned level =
      differing ? (63 - static_cast<unsigned>(std::countl_zero(differing))) / kBits : 0;
  const unsigned slot = static_cast<unsigned>(tick >> (level * kBits)) & (kSlots - 1);
  t.level = static_cast<std::uint8_t>(level);
  t.slot = static_cast<std::uint8_t>(slot);
  t.prev = nullptr;
  t.next = slots_[level][slot];
  if (t.next) t.next->prev = &t;
  slots_[level][slot] = &t;
  occupied_[level].set(slot);
}

void Wheel::unlink(TimerNode& t) {
  if (t.next) t.next->prev = t.prev;
  if (t.level == kDueLevel) {
    (t.prev ? t.prev->next : due_) = t.next;
    if (due_last_ == &t) due_last_ = t.prev;
  } else if (t.prev) {
    t.prev->next = t.next;
  } else {
    slots_[t.level][t.slot] = t.next;
    if (!t.next) occupied_[t.level].clear(t.slot);
  }
}

void Wheel::arm(TimerNode& t, std::uint64_t deadline_ns) {
  SMARM_ASSERT(!t.armed);
  t.deadline_ns = deadline_ns;
  t.armed = true;
  size_.store(size() + 1, std::memory_order_relaxed);
  link(t, tick_of(deadline_ns));
}

bool Wheel::cancel(TimerNode& t) {
  if (!t.armed) return false;
  unlink(t);
  t.armed = false;
  size_.store(size() - 1, std::memory_order_relaxed);
  return true;
}

unsigned Wheel::Occupied::first_from(unsigned slot) const {
  std::uint64_t word = words[slot / 64] & ~std::uint64_t{0} << slot % 64;
  for (unsigned i = slot / 64;; word = words[i]) {
    if (word) return i * 64 + static_cast<unsigned>(std::countr_zero(word));
    if (++i == std::size(words)) return kNone;
  }
}

bool Wheel::next_tick(std::uint64_t& tick, unsigned& level) const {
  for (unsigned l = 0; l < kLevels; ++l) {
    // A timer on a level lies after the wheel's own position there (at it, on level 0), never
    // before: the differing bit says so.
    const unsigned shift = l * kBits;
    const unsigned position = static_cast<unsigned>(now_ >> shift) & (kSlots - 1);
    const unsigned slot = occupied_[l].first_from(position);
    if (slot == Occupied::kNone) continue;
    const unsigned upper = shift + kBits;
    tick = now_ >> upper << upper | std::uint64_t{slot} << shift;
    level = l;
    return true;
  }
  return false;
}

std::uint64_t Wheel::next_ns() const {
  std::uint64_t tick;
  unsigned level;
  if (due_) return 0;
  return next_tick(tick, level) ? tick << kTickShift : kNever;
}

void Wheel::append_due(TimerNode& t) {
  t.level = kDueLevel;
  t.next = nullptr;
  t.prev = due_last_;
  (due_last_ ? due_last_->next : due_) = &t;
  due_last_ = &t;
}

TimerNode* Wheel::pop_due() {
  TimerNode* t = due_;
  if (t) cancel(*t);
  return t;
}

void Wheel::advance(std::uint64_t now_ns) {
  const std::uint64_t target = now_ns >> kTickShift;
  std::uint64_t tick;
  unsigned level;
  while (next_tick(tick, level) && tick <= target) {
    now_ = tick > now_ ? tick : now_;
    const unsigned slot = static_cast<unsigned>(tick >> (level * kBits)) & (kSlots - 1);
    TimerNode* list = slots_[level][slot];
    slots_[level][slot] = nullptr;
    occupied_[level].clear(slot);
    while (list) {
      TimerNode& t = *list;
      list = t.next;
      const std::uint64_t at = tick_of(t.deadline_ns);
      if (at > now_) {
        link(t, at);  // one level down
      } else {
        append_due(t);
      }
    }
  }
  if (target > now_) now_ = target;
}

}  // namespace smarm
