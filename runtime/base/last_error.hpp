// The words behind SMARM_E_LIMIT, per OS thread.
#pragma once

#include <cstdarg>

namespace smarm {

// printf-like; cut at 511 bytes.
[[gnu::format(printf, 1, 2)]] void set_last_error(const char* format, ...) noexcept;
const char* last_error() noexcept;

}  // namespace smarm
