#include "runtime/facade/usable_cpus.hpp"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

namespace smarm {

namespace {

std::uint32_t from_affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<std::uint32_t>(std::max(1, CPU_COUNT(&set)));
}

std::uint32_t rounded_up(double quota, double period) {
  return quota > 0 && period > 0 ? std::max(1u, static_cast<std::uint32_t>(quota / period + 0.999))
                                 : UINT32_MAX;
}

// The quotas of this process's cgroup and of all above it: the tightest counts.
std::uint32_t from_cgroup() {
  std::uint32_t cpus = UINT32_MAX;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && controllers.find("cpu") == std::string::npos) continue;
    for (std::string path = line.substr(second + 1);;) {
      double quota = -1, period = -1;
      const std::string base = v2 ? "/sys/fs/cgroup" + path : "/sys/fs/cgroup/cpu" + path;
      if (v2) {
        std::ifstream("" + base + "/cpu.max") >> quota >> period;  // "max 100000" leaves quota at 0
      } else {
        std::ifstream(base + "/cpu.cfs_quota_us") >> quota;
        std::ifstream(base + "/cpu.cfs_period_us") >> period;
      }
      cpus = std::min(cpus, rounded_up(quota, period));
      const std::size_t slash = path.rfind('/');
      if (slash == std::string::npos || path.size() <= 1) break;
      path.resize(slash);
    }
  }
  return cpus;
}

}  // namespace

std::uint32_t usable_cpus() {
  return std::clamp(std::min(from_affinity(), from_cgroup()), 1u, 1024u);
}

}  // namespace smarm
