// The time-stamp counter against the clock, for settings that are written in microseconds.
#pragma once

#include "daemon/config/config.hpp"

#include <cstdint>

namespace smarmd {

// Cycles of the time-stamp counter per microsecond. Measured once, which blocks for about 10 ms;
// any thread.
double tsc_cycles_per_us();

// runtime.timeslice_us in cycles when it is set, else runtime.timeslice_cycles.
std::uint64_t timeslice_cycles(const RuntimeConfig& runtime);

}  // namespace smarmd
