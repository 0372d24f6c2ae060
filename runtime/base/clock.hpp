// Time behind an interface, so that a test can own it.
#pragma once

#include <time.h>
#include <x86intrin.h>

#include <cstdint>

namespace smarm {

inline constexpr std::uint64_t kNever = ~std::uint64_t{0};

// Monotonic nanoseconds. Any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::uint64_t now_ns() noexcept = 0;
};

class SystemClock final : public Clock {
 public:
  std::uint64_t now_ns() noexcept override {
    timespec t;
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u +
           static_cast<std::uint64_t>(t.tv_nsec);
  }
  static SystemClock& instance();
};

// now + wait, saturating; a negative wait is for ever.
inline std::uint64_t deadline_after(std::uint64_t now, std::int64_t wait_ns) {
  if (wait_ns < 0) return kNever;
  std::uint64_t sum = now + static_cast<std::uint64_t>(wait_ns);
  return sum < now ? kNever : sum;
}

inline std::uint64_t read_tsc() { return __rdtsc(); }

}  // namespace smarm
