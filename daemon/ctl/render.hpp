// What smarmctl shows people: the daemon's answers as text and tables. Pure functions; keys that an
// answer lacks are shown as empty, so that another version's answer is still shown.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace smarmd {

// Columns as wide as their longest cell, two blanks between, no blanks at the end of a line.
std::string render_table(const std::vector<std::vector<std::string>>& rows);

// 950 ms, 12s, 3m 5s, 2h 3m, 4d 1h
std::string render_duration(std::int64_t ms);

// Control characters as `?`, so that a plugin's words cannot drive the terminal; at most `limit`
// characters.
std::string render_words(std::string_view text, std::size_t limit = static_cast<std::size_t>(-1));

// The result of a command. now_ms: Unix time, for "since".
std::string render_result(std::string_view command, const nlohmann::json& result,
                          std::int64_t now_ms);

// The error of an answer, several lines.
std::string render_error(const nlohmann::json& error);

}  // namespace smarmd
