// How often the same thing is told of the same plugin.
//
// Pure: time comes in as an argument. Of each key the first `burst` are told at once, and then none
// until kQuiet has passed since the first of them; the next that is told says how many were not.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace smarmd {

class ReportLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kQuiet{60};

  explicit ReportLimit(unsigned burst) : burst_(burst) {}

  // How many of this key were not told since the last that was; nothing: nor is this one.
  std::optional<std::uint64_t> admit(const std::string& key, Time now);

 private:
  static constexpr std::size_t kKeys = 1024;  // beyond, those that have been quiet are forgotten

  struct Seen {
    Time began;
    unsigned told = 0;
    std::uint64_t suppressed = 0;
  };
  const unsigned burst_;
  std::map<std::string, Seen> seen_;
};

}  // namespace smarmd
