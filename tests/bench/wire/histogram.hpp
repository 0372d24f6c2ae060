// Counts of latencies in classes 3 % wide: the idea of HdrHistogram, without its options.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace wire {

class Histogram {
 public:
  void add(std::uint64_t ns) {
    ++counts_[index(ns)];
    ++total_;
  }
  // The latency that this part of all (0 to 1) does not exceed; 0 when there are none.
  std::uint64_t at(double part) const {
    const auto wanted = static_cast<std::uint64_t>(part * static_cast<double>(total_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (counts_[i] != 0 && seen > wanted) return value(i);
    }
    return 0;
  }

 private:
  static constexpr unsigned kBits = 5;  // 32 classes for each power of two
  static constexpr std::size_t kSteps = 1u << kBits;
  static std::size_t index(std::uint64_t ns) {
    if (ns < kSteps) return ns;
    const unsigned shift = static_cast<unsigned>(std::bit_width(ns)) - 1 - kBits;
    return (shift + 1) * kSteps + ((ns >> shift) & (kSteps - 1));
  }
  static std::uint64_t value(std::size_t i) {
    if (i < kSteps) return i;
    const std::size_t shift = i / kSteps - 1;
    return (kSteps + i % kSteps) << shift;
  }
  std::array<std::uint64_t, (64 - kBits + 1) * kSteps> counts_{};
  std::uint64_t total_ = 0;
};

}  // namespace wire
