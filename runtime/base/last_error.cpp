#include "runtime/base/last_error.hpp"

#include <cstdio>

namespace smarm {

namespace {
thread_local char text[512] = "";
}

void set_last_error(const char* format, ...) noexcept {
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
}

const char* last_error() noexcept { return text; }

}  // namespace smarm
