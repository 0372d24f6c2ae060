// Makes text from outside (a note, a dlopen error, a child's output) fit for one line of a log.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace smarmd::plugin {

[[nodiscard]] bool is_utf8(std::string_view text);
// Bytes that are not UTF-8 become `?`.
[[nodiscard]] std::string to_utf8(std::string_view text);

// Control characters become spaces (newlines and tabs too), runs of spaces one; trimmed; bytes that
// are not UTF-8 become `?`; cut at `limit` bytes with `...`.
[[nodiscard]] std::string one_line(std::string_view text, std::size_t limit = 400);

// The message of an errno.
[[nodiscard]] std::string errno_text(int error);

}  // namespace smarmd::plugin
