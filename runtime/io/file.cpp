// Whole files, through the ring, or the pool of threads that may block.

#include <smarm/file.hpp>

#include "runtime/context/frozen_stack.hpp"
#include "runtime/io/address.hpp"
#include "runtime/io/uring_file.hpp"
#include "runtime/sched/park.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace smarm {

namespace {

constexpr std::size_t kStep = 64 * 1024;  // when the size is not known, as in /proc
constexpr unsigned kMode = 0666;

// The system calls of a thread that may block, and of an actor whose runtime has a ring.
struct Blocking {
  static long open(const char* path, int flags) {
    return raw_syscall(SYS_openat, AT_FDCWD, path, flags, kMode);
  }
  static long read(int fd, void* buffer, std::size_t size) {
    return raw_syscall(SYS_read, fd, buffer, size);
  }
  static long write(int fd, const void* buffer, std::size_t size) {
    return raw_syscall(SYS_write, fd, buffer, size);
  }
  static long close(int fd) { return close_fd(fd); }
};
struct Ring {
  static long open(const char* path, int flags) { return open_by_ring(path, flags, kMode); }
  static long read(int fd, void* buffer, std::size_t size) {
    return read_by_ring(fd, buffer, size);
  }
  static long write(int fd, const void* buffer, std::size_t size) {
    return write_by_ring(fd, buffer, size);
  }
  static long close(int fd) { return close_by_ring(fd); }
};

template <class Calls>
IoResult<OwnedFd> open_file(const std::string& path, int flags) {
  for (;;) {
    const long fd = Calls::open(path.c_str(), flags | O_CLOEXEC);
    if (fd >= 0) return OwnedFd(fd);
    if (fd != -EINTR) return failure(-fd, "open", path);
  }
}

template <class Calls>
IoResult<std::string> read_whole(const std::string& path, std::size_t limit) {
  auto fd = open_file<Calls>(path, O_RDONLY);
  if (!fd) return std::unexpected(std::move(fd.error()));
  struct stat st{};
  std::size_t expected = 0;
  if (::fstat(fd->get(), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
    expected = static_cast<std::size_t>(st.st_size);
  if (expected > limit) return failure(EFBIG, "read", path);
  std::string text;
  std::size_t have = 0;
  for (;;) {
    // One byte more than expected: then the end is seen without another look.
    const std::size_t room = have <= expected ? expected + 1 : have + kStep;
    text.resize(std::min(room, limit == SIZE_MAX ? room : limit + 1));
    const long n = Calls::read(fd->get(), text.data() + have, text.size() - have);
    if (n == -EINTR) continue;
    if (n < 0) return failure(-n, "read", path);
    have += static_cast<std::size_t>(n);
    if (have > limit) return failure(EFBIG, "read", path);
    if (n == 0) break;
  }
  text.resize(have);
  return text;
}

template <class Calls>
IoResult<void> write_whole(const std::string& path, std::span<const char> content) {
  auto fd = open_file<Calls>(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!fd) return std::unexpected(std::move(fd.error()));
  while (!content.empty()) {
    const long n = Calls::write(fd->get(), content.data(), content.size());
    if (n == -EINTR) continue;
    if (n == -EFAULT && thaw_frozen_at(content.data())) continue;  // of an actor that hibernates
    if (n < 0) return failure(-n, "write", path);
    content = content.subspan(static_cast<std::size_t>(n));
  }
  // Some file systems tell here that there was no room.
  const long e = Calls::close(fd->release());
  if (e < 0 && e != -EINTR) return failure(-e, "close", path);
  return {};
}

}  // namespace

SMARM_PUBLIC IoResult<std::string> read_file(std::string_view path, std::size_t limit) {
  if (ring_serves_files()) {
    const Section section(current_worker());
    return read_whole<Ring>(std::string(path), limit);
  }
  return block_on_io([&] { return read_whole<Blocking>(std::string(path), limit); });
}

SMARM_PUBLIC IoResult<void> write_file(std::string_view path, std::span<const char> content) {
  if (ring_serves_files()) {
    const Section section(current_worker());
    return write_whole<Ring>(std::string(path), content);
  }
  return block_on_io([&] { return write_whole<Blocking>(std::string(path), content); });
}

}  // namespace smarm
