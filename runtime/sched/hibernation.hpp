// Hibernation: actors that have been parked for long give their stacks' pages back.
//
// A hand goes round the actor table, as in the clock algorithms of virtual memory: what it finds
// parked it marks with the wait and the time, and what is still in that wait a while later it
// freezes. Busy workers move it a little each time they look after timers, idle ones a lot before
// they nap. While nothing is left to freeze and nothing parks, nobody is woken for it.
//
// Ownership: the hand takes a parked actor as if that had not left its stack yet (state `active`,
// the wait's number unchanged), so wakers do what they do for such actors, and publishes the wait
// again afterwards. A frozen actor has no `stack` but `frozen`; Worker::prepare thaws it.
//
// Threads: one worker moves the hand at a time. The rest is read by all as hints.
#pragma once

#include "runtime/actor/actor.hpp"
#include "runtime/context/frozen_stack.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace smarm {

class RuntimeCore;
class Worker;

class Hibernation {
 public:
  // after_ns 0: off. Otherwise can_freeze_stacks() has said yes.
  Hibernation(RuntimeCore& runtime, std::uint64_t after_ns);
  Hibernation(const Hibernation&) = delete;
  Hibernation& operator=(const Hibernation&) = delete;

  bool on() const { return after_ms_ != 0; }
  // On a worker, in a section, between two actors: moves the hand a little when it is due.
  void look(Worker& w, std::uint64_t now_ns) {
    if (now_ns >= due_ns_.load(std::memory_order_relaxed)) [[unlikely]]
      sweep(w, now_ns, kBusySlice);
  }
  // The same on a worker without work, which is not listed as idle. True: the round is not
  // finished.
  bool look_while_idle(Worker& w);
  // When an idle worker has to look again, as long as nobody parks; kNever when nothing is left.
  std::uint64_t next_ns() const;

 private:
  struct Slice {
    std::uint32_t blocks;
    std::uint32_t freezes;
  };
  static constexpr Slice kBusySlice{512, 8};
  static constexpr Slice kIdleSlice{8192, 32};
  static constexpr std::size_t kMostFreezes = 32;

  // Actors that the hand has taken and will give back.
  struct Taken {
    Actor* actor;
    ActorState from;
  };
  bool sweep(Worker& w, std::uint64_t now_ns, Slice most);
  bool take(Worker& w, Actor& a, std::uint32_t now_ms, Taken& taken);
  void freeze(Worker& w, std::size_t taken);
  std::uint64_t parks() const;

  RuntimeCore& runtime_;
  const std::uint32_t after_ms_;
  const std::uint64_t round_ns_;  // a new round begins so long after the last one's begin

  std::atomic<bool> moving_{false};  // held by the worker that moves the hand
  // Of that worker.
  std::uint32_t hand_ = 1;  // the next actor to look at
  std::uint64_t round_began_ns_ = 0;
  std::uint64_t round_parks_ = 0;
  std::array<Taken, kMostFreezes> taken_;
  std::array<StackToFreeze, kMostFreezes> stacks_;
  bool candidates_ = false;  // this round has met some that will be ripe later

  // Written by that worker, read by any; relaxed: hints.
  std::atomic<std::uint64_t> due_ns_;
  std::atomic<std::uint64_t> quiet_parks_{UINT64_MAX};  // a whole round that began with so many
                                                        // parks has left none to freeze
};

}  // namespace smarm
