// How many CPUs this process may really use: the affinity mask and the cgroup quota, version 1
// or 2.
#pragma once

#include <cstdint>

namespace smarm {

std::uint32_t usable_cpus();

}  // namespace smarm
