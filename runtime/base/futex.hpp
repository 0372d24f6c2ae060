// Sleeping on a word.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace smarm {

// Sleeps while word == expected, until woken or the CLOCK_MONOTONIC deadline (kNever-like values:
// no limit). May return early.
inline void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected,
                       std::uint64_t deadline_ns) {
  timespec until{static_cast<time_t>(deadline_ns / 1'000'000'000u),
                 static_cast<long>(deadline_ns % 1'000'000'000u)};
  const bool limited = deadline_ns != ~std::uint64_t{0};
  ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, expected, limited ? &until : nullptr,
            nullptr, FUTEX_BITSET_MATCH_ANY);
}

inline void futex_wake_one(std::atomic<std::uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1);
}

}  // namespace smarm
