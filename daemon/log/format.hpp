// How a record becomes text, JSON or journal fields. Pure functions.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/log/record.hpp"

namespace smarmd {

// 2026-11-21T12:00:00.123Z
std::string utc_timestamp(std::chrono::system_clock::time_point time);

// "plugin.restarted echo: ... pid=3.1 reason=\"it broke\"": what follows time and level. Always one
// line: control characters are written as escapes, so that neither a plugin nor an exception's text
// can forge a line or drive a terminal.
std::string text_line(const Record& record);

// {"ts":..,"level":..,"event":..,"message":.., then the fields in their order}. A field that has
// one of these names gets a `_` behind it. Bytes that are not UTF-8 are replaced.
std::string json_line(const Record& record);

// PRIORITY=, SYSLOG_IDENTIFIER=, MESSAGE=, SMARMD_EVENT=, then SMARMD_<KEY>= for every field.
std::vector<std::string> journal_fields(const Record& record);

// The first `limit` bytes at most, cut between two characters, and "..." behind.
std::string cut_text(std::string text, std::size_t limit);

}  // namespace smarmd
