// Whole files, through the pool of threads that may block.

#include <smarm/file.hpp>

#include "runtime/io/address.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace smarm {

namespace {

constexpr std::size_t kStep = 64 * 1024;  // when the size is not known, as in /proc

IoResult<OwnedFd> open_file(const std::string& path, int flags) {
  for (;;) {
    const long fd = raw_syscall(SYS_openat, AT_FDCWD, path.c_str(), flags | O_CLOEXEC, 0666);
    if (fd >= 0) return OwnedFd(fd);
    if (fd != -EINTR) return failure(-fd, "open", path);
  }
}

IoResult<std::string> read_whole(const std::string& path, std::size_t limit) {
  auto fd = open_file(path, O_RDONLY);
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
    const long n = raw_syscall(SYS_read, fd->get(), text.data() + have, text.size() - have);
    if (n == -EINTR) continue;
    if (n < 0) return failure(-n, "read", path);
    have += static_cast<std::size_t>(n);
    if (have > limit) return failure(EFBIG, "read", path);
    if (n == 0) break;
  }
  text.resize(have);
  return text;
}

IoResult<void> write_whole(const std::string& path, std::span<const char> content) {
  auto fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!fd) return std::unexpected(std::move(fd.error()));
  while (!content.empty()) {
    const long n = raw_syscall(SYS_write, fd->get(), content.data(), content.size());
    if (n == -EINTR) continue;
    if (n < 0) return failure(-n, "write", path);
    content = content.subspan(static_cast<std::size_t>(n));
  }
  // Some file systems tell here that there was no room.
  const long e = close_fd(fd->release());
  if (e < 0 && e != -EINTR) return failure(-e, "close", path);
  return {};
}

}  // namespace

SMARM_PUBLIC IoResult<std::string> read_file(std::string_view path, std::size_t limit) {
  return block_on_io([&] { return read_whole(std::string(path), limit); });
}

SMARM_PUBLIC IoResult<void> write_file(std::string_view path, std::span<const char> content) {
  return block_on_io([&] { return write_whole(std::string(path), content); });
}

}  // namespace smarm
