// Timers: a message or an unpark after a time, cancellable.
#pragma once

#include <smarm/smarm.h>
#include <smarm/actor.hpp>
#include <smarm/channel.hpp>
#include <smarm/time.hpp>

#include <memory>
#include <new>
#include <utility>

namespace smarm {

// Move-only. Dropping the handle lets the timer run.
class [[nodiscard("a dropped Timer cannot be cancelled; say (void) when that is meant")]] Timer {
 public:
  Timer() = default;
  explicit Timer(smarm_timer* owned) : raw_(owned) {}
  Timer(Timer&& o) noexcept : raw_(std::exchange(o.raw_, nullptr)) {}
  Timer& operator=(Timer&& o) noexcept {
    if (this != &o) {
      detach();
      raw_ = std::exchange(o.raw_, nullptr);
    }
    return *this;
  }
  ~Timer() { detach(); }
  // True: it will not fire. False: it has fired, is firing, or was cancelled before.
  bool cancel() { return raw_ && smarm_timer_cancel(std::exchange(raw_, nullptr)) == 1; }

 private:
  void detach() {
    if (raw_) smarm_timer_detach(std::exchange(raw_, nullptr));
  }
  smarm_timer* raw_ = nullptr;
};

// Calls unpark(pid) after the time. Must be called by an actor; does not park.
template <class Rep, class Period>
Timer unpark_after(std::chrono::duration<Rep, Period> d, Pid pid) {
  void* arg = reinterpret_cast<void*>(std::uint64_t{pid.generation()} << 32 | pid.index());
  smarm_timer* t = smarm_timer_start(
      detail::to_ns(d),
      [](void* p) {
        auto bits = reinterpret_cast<std::uint64_t>(p);
        smarm_unpark({static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32)});
      },
      arg);
  if (!t) throw std::bad_alloc();
  return Timer(t);
}

}  // namespace smarm
