#include "daemon/supervision/report_limit.hpp"

#include <utility>

namespace smarmd {

std::optional<std::uint64_t> ReportLimit::admit(const std::string& key, Time now) {
  if (seen_.size() > kKeys)
    std::erase_if(seen_, [now](const auto& entry) { return now - entry.second.began >= kQuiet; });
  Seen& seen = seen_.try_emplace(key, Seen{.began = now}).first->second;
  if (now - seen.began >= kQuiet) {
    seen.began = now;
    seen.told = 0;
  }
  if (seen.told == burst_) {
    ++seen.suppressed;
    return std::nullopt;
  }
  ++seen.told;
  return std::exchange(seen.suppressed, 0);
}

}  // namespace smarmd
