// Memory: how much the process holds, and how large the million rows are.
#pragma once

#include <cstddef>

namespace bench {

// The number of actors, timers and leaves in the million rows: BENCH_MILLION in the environment,
// else 1,000,000. The peers read the same variable.
long million();
// The largest power of ten that is not above it: the leaves of skynet.
long leaves();

// VmRSS + VmPTE: the pages that are resident and the tables that map them.
long resident_bytes();

// Under a hypervisor the first touch of a page that the host has not backed yet is far dearer than
// a page fault. Touches that much (at most three quarters of what is available) and frees it.
void touch_and_free(std::size_t mib);

}  // namespace bench
