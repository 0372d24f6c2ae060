// Durations as the C face takes them.
#pragma once

#include <smarm/smarm.h>

#include <chrono>
#include <cstdint>
#include <limits>

namespace smarm {

using Duration = std::chrono::nanoseconds;

namespace detail {
// Whole nanoseconds, at least 0; what does not fit (hours::max() and the like) waits for ever.
template <class Rep, class Period>
constexpr std::int64_t to_ns(std::chrono::duration<Rep, Period> d) {
  if (d <= d.zero()) return 0;
  using Wide = std::chrono::duration<long double, std::nano>;
  if (std::chrono::duration_cast<Wide>(d).count() >= 9.2e18L) return SMARM_FOREVER;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
}
}  // namespace detail

}  // namespace smarm
