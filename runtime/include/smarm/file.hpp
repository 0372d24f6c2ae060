// Whole files, read and written off the workers. Parks, and cannot be killed meanwhile: not for
// pipes, whose opening may wait for ever.
#pragma once

#include <smarm/fd.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace smarm {

// The content. More than `limit` bytes: std::errc::file_too_large, and nothing is read further.
[[nodiscard]] IoResult<std::string> read_file(std::string_view path, std::size_t limit = SIZE_MAX);
// Creates the file (mode 0666 less the umask) or replaces its content. It is not synced, and a
// reader may see it half-way: write beside it and rename where that matters.
[[nodiscard]] IoResult<void> write_file(std::string_view path, std::span<const char> content);

}  // namespace smarm
