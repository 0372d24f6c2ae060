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
#include <utility>

namespace smarm {

namespace {

constexpr std::size_t kStep = 64 * 1024;  // when the size is not known, as in /proc
constexpr unsigned kMode = 0666;

// The system calls of a thread that may block, and of an actor whose runtime has a ring.
struct Blocking {
  static long open(const char* path, int flags) {
    return raw_syscall(SYS_openat, AT_FDCWD, path, flags, kMode);
  }
  static long size(int fd) {
    struct stat s{};
    if (const long e = raw_syscall(SYS_fstat, fd, &s); e < 0) return e;
    return S_ISREG(s.st_mode) ? s.st_size : 0;
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
  static long size(int fd) { return size_by_ring(fd); }
  static long read(int fd, void* buffer, std::size_t size) {
    return read_by_ring(fd, buffer, size);
  }
  static long write(int fd, const void* buffer, std::size_t size) {
    return write_by_ring(fd, buffer, size);
  }
  static long close(int fd) { return close_by_ring(fd); }
};

// Closed with its object.
template <class Calls>
class OpenFile {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}
  OpenFile(OpenFile&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile() { close(); }
  int get() const { return fd_; }
  long close() { return fd_ < 0 ? 0 : Calls::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

template <class Calls>
IoResult<OpenFile<Calls>> open_file(const std::string& path, int flags) {
  for (;;) {
    const long fd = Calls::open(path.c_str(), flags | O_CLOEXEC);
    if (fd >= 0) return OpenFile<Calls>(static_cast<int>(fd));
    if (fd != -EINTR) return failure(-fd, "open", path);
  }
}

// More room behind what is there, its content whatever it is.
void grow(std::string& text, std::size_t size) {
  text.resize_and_overwrite(size, [](char*, std::size_t n) { return n; });
}

template <class Calls>
IoResult<std::string> read_whole(const std::string& path, std::size_t limit) {
  auto file = open_file<Calls>(path, O_RDONLY);
  if (!file) return std::unexpected(std::move(file.error()));
  const long size = Calls::size(file->get());
  const std::size_t expected = size > 0 ? static_cast<std::size_t>(size) : 0;
  if (expected > limit) return failure(EFBIG, "read", path);
  std::string text;
  std::size_t have = 0;
  for (;;) {
    // One byte more than expected: then the end is seen without another look.
    const std::size_t room = have <= expected ? expected + 1 : have + kStep;
    grow(text, std::min(room, limit == SIZE_MAX ? room : limit + 1));
    const long n = Calls::read(file->get(), text.data() + have, text.size() - have);
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
  auto file = open_file<Calls>(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file) return std::unexpected(std::move(file.error()));
  bool thawed = false;
  while (!content.empty()) {
    const long n = Calls::write(file->get(), content.data(), content.size());
    if (n == -EINTR) continue;
    // Of an actor that hibernates.
    if (n == -EFAULT && !std::exchange(thawed, true) && thaw_frozen_at(content.data())) continue;
    if (n < 0) return failure(-n, "write", path);
    content = content.subspan(static_cast<std::size_t>(n));
  }
  // Some file systems tell here that there was no room.
  const long e = file->close();
  if (e < 0 && e != -EINTR) return failure(-e, "close", path);
  return {};
}

// f(calls) through the ring, with a safe-point at both ends as block_on_io has; else on the pool.
template <class F>
auto off_the_worker(F f) {
  if (!ring_serves_files()) return block_on_io([&] { return f(Blocking{}); });
  smarm_check();
  auto result = f(Ring{});
  smarm_check();
  return result;
}

}  // namespace

SMARM_PUBLIC IoResult<std::string> read_file(std::string_view path, std::size_t limit) {
  return off_the_worker(
      [&]<class Calls>(Calls) { return read_whole<Calls>(std::string(path), limit); });
}

SMARM_PUBLIC IoResult<void> write_file(std::string_view path, std::span<const char> content) {
  return off_the_worker(
      [&]<class Calls>(Calls) { return write_whole<Calls>(std::string(path), content); });
}

}  // namespace smarm
