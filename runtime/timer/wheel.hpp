// A hierarchical timing wheel: O(1) arm and cancel, whatever is armed. (Varghese and Lauck, 1987;
// the layout by differing bits follows Linux and tokio.)
//
// Time is cut into ticks of 2^kTickShift ns. Level l has 256 slots of 256^l ticks; a timer lies on
// the level of the highest bit in which its tick differs from the wheel's present, and moves down
// as that comes near. Each move meets a timer that no cache holds; 64 slots would take one move
// more.
//
// Threads: none of its own. A worker's wheel is shared under the worker's timer lock; the caller
// holds it for every call but Timer's accessors.
// 1. A linked timer is on exactly one list; armed() says whether it is linked.
// 2. Nothing stale stays behind: cancel unlinks.
// 3. A timer never fires early: its tick is rounded up.
#pragma once

#include "runtime/base/clock.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace smarm {

class Wheel;

struct TimerNode {
  TimerNode* prev = nullptr;
  TimerNode* next = nullptr;
  std::uint64_t deadline_ns = 0;
  std::uint8_t level = 0, slot = 0;
  bool armed = false;
  bool ends_wait = false;  // a WaitTimer, else a Timer with a function of its own
};

class Wheel {
 public:
  static constexpr unsigned kTickShift = 14;  // 16.4 us

  explicit Wheel(std::uint64_t now_ns) : now_(now_ns >> kTickShift) {}
  Wheel(const Wheel&) = delete;
  Wheel& operator=(const Wheel&) = delete;

  void arm(TimerNode& timer, std::uint64_t deadline_ns);
  // True when the timer was armed, and so will not fire.
  bool cancel(TimerNode& timer);
  // Moves the wheel to now_ns; what is due goes on the due list, oldest slot first, still armed: it
  // can be cancelled until pop_due takes it.
  void advance(std::uint64_t now_ns);
  // Takes one due timer off, no longer armed; nullptr when none is left.
  TimerNode* pop_due();
  // When advance should next be called; that is the earliest deadline or the moment its slot has to
  // be looked into. kNever when empty.
  std::uint64_t next_ns() const;
  // Unlocked reads are hints, but for the owner, who alone arms.
  bool empty() const { return size_.load(std::memory_order_relaxed) == 0; }
  std::size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  static constexpr unsigned kBits = 8;
  static constexpr unsigned kSlots = 1u << kBits;
  static constexpr unsigned kLevels = 7;  // 2^56 ticks: all of a 64-bit nanosecond clock
  static_assert(kLevels * kBits + kTickShift >= 64 && kLevels * kBits < 64);

  // Which slots of a level hold timers.
  struct Occupied {
    static constexpr unsigned kNone = kSlots;
    std::uint64_t words[kSlots / 64] = {};
    void set(unsigned slot) { words[slot / 64] |= std::uint64_t{1} << slot % 64; }
    void clear(unsigned slot) { words[slot / 64] &= ~(std::uint64_t{1} << slot % 64); }
    unsigned first_from(unsigned slot) const;  // kNone: no slot from there on
  };

  void link(TimerNode& timer, std::uint64_t tick);
  void unlink(TimerNode& timer);
  // The first tick at which a level has something to do, and that level; false when empty.
  bool next_tick(std::uint64_t& tick, unsigned& level) const;

  void append_due(TimerNode& timer);

  static constexpr std::uint8_t kDueLevel = 255;

  std::uint64_t now_;                 // in ticks
  std::atomic<std::size_t> size_{0};  // written under the lock
  Occupied occupied_[kLevels] = {};
  TimerNode* slots_[kLevels][kSlots] = {};
  TimerNode* due_ = nullptr;
  TimerNode* due_last_ = nullptr;
};

}  // namespace smarm
