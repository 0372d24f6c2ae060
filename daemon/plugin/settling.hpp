// Holds changed paths back until they have been quiet for a while. Pure: the caller tells the time.
// One thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <vector>

namespace smarmd::plugin {

class Settling {
 public:
  using Clock = std::chrono::steady_clock;

  // A path is due `quiet` after its last touch, but not later than `limit` after its first.
  Settling(Clock::duration quiet, Clock::duration limit) : quiet_(quiet), limit_(limit) {}

  void touch(const std::filesystem::path& path, Clock::time_point now) {
    const auto [it, fresh] = pending_.try_emplace(path, Pending{now, {}});
    it->second.due = std::min(now + quiet_, it->second.first + limit_);
  }
  // When the next path is due.
  std::optional<Clock::time_point> next() const {
    const auto earliest =
        std::min_element(pending_.begin(), pending_.end(),
                         [](const auto& a, const auto& b) { return a.second.due < b.second.due; });
    return earliest == pending_.end() ? std::nullopt : std::optional(earliest->second.due);
  }
  // Removes and returns the paths that are due, sorted.
  std::vector<std::filesystem::path> take(Clock::time_point now) {
    std::vector<std::filesystem::path> due;
    std::erase_if(pending_, [&](const auto& entry) {
      if (entry.second.due > now) return false;
      due.push_back(entry.first);
      return true;
    });
    return due;
  }

 private:
  struct Pending {
    Clock::time_point first, due;
  };
  Clock::duration quiet_, limit_;
  std::map<std::filesystem::path, Pending> pending_;
};

}  // namespace smarmd::plugin
