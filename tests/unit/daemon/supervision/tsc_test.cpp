#include "daemon/supervision/tsc.hpp"

#include <doctest/doctest.h>
#include <x86intrin.h>

#include <chrono>
#include <thread>

using namespace smarmd;

TEST_CASE("the measured rate agrees with the clock over a longer time") {
  const double rate = tsc_cycles_per_us();
  // What preempts a reading of the two clocks spoils one try.
  bool agrees = false;
  for (int i = 0; i < 20 && !agrees; ++i) {
    const auto time = std::chrono::steady_clock::now();
    const std::uint64_t cycles = __rdtsc();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the time is the measure
    const double us =
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - time).count();
    agrees = static_cast<double>(__rdtsc() - cycles) / us == doctest::Approx(rate).epsilon(0.05);
  }
  CHECK(agrees);
}

TEST_CASE("a timeslice in cycles is taken as it is, one in microseconds is converted") {
  RuntimeConfig c;
  c.timeslice_cycles = 12'345;
  CHECK(timeslice_cycles(c) == 12'345);
  c.timeslice_us = 100;
  CHECK(static_cast<double>(timeslice_cycles(c)) ==
        doctest::Approx(100 * tsc_cycles_per_us()).epsilon(0.001));
}
