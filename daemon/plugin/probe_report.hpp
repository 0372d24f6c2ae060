// What the probe's child says on stderr, between its two sides.
#pragma once

#include <string_view>

namespace smarmd::plugin {

inline constexpr std::string_view kReportPrefix = "smarmd --probe: ";  // at the start of a line
inline constexpr std::string_view kReportLoaded = "loaded";
inline constexpr std::string_view kReportOk = "ok";
inline constexpr std::string_view kReportFailed = "failed: ";  // and the reason

}  // namespace smarmd::plugin
