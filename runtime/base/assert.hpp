// SMARM_ASSERT: always on, for corruption of the runtime's own state and for system calls that
// cannot fail. Never for input: a configuration, a plugin or a peer gets an error that names it and
// the way out.
#pragma once

namespace smarm {

// Writes one line to stderr and aborts. Any thread; takes no lock and allocates nothing.
[[noreturn]] void assert_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace smarm

#define SMARM_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : ::smarm::assert_failed(#expression, __FILE__, __LINE__))
