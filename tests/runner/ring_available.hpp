// Whether a runtime can have a ring here, for tests of the backend io_uring.
#pragma once

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace test {

// Empty, or why not.
inline std::string no_ring() {
#if SMARM_VALGRIND
  return "memcheck does not see what the kernel writes for a ring";
#else
  io_uring_params params{};
  params.flags = IORING_SETUP_COOP_TASKRUN;  // as old as what the backend needs
  const long fd = ::syscall(SYS_io_uring_setup, 1, &params);
  if (fd < 0) return std::string("no io_uring here: ") + std::strerror(errno);
  ::close(static_cast<int>(fd));
  return {};
#endif
}

}  // namespace test
