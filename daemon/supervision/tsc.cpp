#include "daemon/supervision/tsc.hpp"

#include <x86intrin.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

namespace smarmd {

namespace {

struct Sample {
  std::uint64_t cycles;
  std::chrono::steady_clock::time_point time;
};

// The tightest of a few readings: an interrupt between the two would spoil one.
Sample sample() {
  Sample best{};
  std::uint64_t width = UINT64_MAX;
  for (int i = 0; i < 5; ++i) {
    const std::uint64_t before = __rdtsc();
    const auto time = std::chrono::steady_clock::now();
    const std::uint64_t after = __rdtsc();
    if (after - before < width) {
      width = after - before;
      best = {before + width / 2, time};
    }
  }
  return best;
}

double measure() {
  const Sample a = sample();
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const Sample b = sample();
  return static_cast<double>(b.cycles - a.cycles) /
         std::chrono::duration<double, std::micro>(b.time - a.time).count();
}

}  // namespace

double tsc_cycles_per_us() {
  static const double rate = measure();
  return rate;
}

std::uint64_t timeslice_cycles(const RuntimeConfig& runtime) {
  if (!runtime.timeslice_us) return runtime.timeslice_cycles;
  return std::max<std::uint64_t>(
      1, std::llround(static_cast<double>(*runtime.timeslice_us) * tsc_cycles_per_us()));
}

}  // namespace smarmd
