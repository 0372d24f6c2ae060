#include "runtime/base/assert.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace smarm {

void assert_failed(const char* expression, const char* file, int line) noexcept {
  char text[512];
  int n = std::snprintf(text, sizeof text, "smarm: internal error, please report: %s (%s:%d)\n",
                        expression, file, line);
  if (n > 0)
    static_cast<void>(
        !::write(STDERR_FILENO, text, static_cast<std::size_t>(n) < sizeof text ? n : sizeof text));
  std::abort();
}

}  // namespace smarm
