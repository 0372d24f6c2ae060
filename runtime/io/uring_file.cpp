#include "runtime/io/uring_file.hpp"

#include "runtime/io/uring_poller.hpp"

#include <fcntl.h>
#include <sys/stat.h>

namespace smarm {

namespace {

constexpr std::uint64_t kPosition = ~std::uint64_t{0};  // as offset: where the file's position is
constexpr std::size_t kQuick = 64 * 1024;  // what the worker may copy itself, when it is in memory

template <class Prepare>
long perform(bool elsewhere, Prepare prepare, bool repeats = true) {
  const Section section(current_worker());
  return current_ring().perform(
      WaitKind::blocking,
      [&](io_uring_sqe* entry) {
        prepare(entry);
        if (elsewhere) io_uring_sqe_set_flags(entry, IOSQE_ASYNC);
      },
      repeats);
}

}  // namespace

bool ring_serves_files() {
  const Actor* self = current_actor();
  return self && !self->dying && current_backend().is_ring();
}

// A file system may block in an open.
long open_by_ring(const char* path, int flags, unsigned mode) {
  return perform(
      true, [&](io_uring_sqe* entry) { io_uring_prep_openat(entry, AT_FDCWD, path, flags, mode); });
}

long size_by_ring(int fd) {
  struct statx s{};
  const long e = perform(true, [&](io_uring_sqe* entry) {
    io_uring_prep_statx(entry, fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE, &s);
  });
  if (e < 0) return e;
  return S_ISREG(s.stx_mode) ? static_cast<long>(s.stx_size) : 0;
}

long read_by_ring(int fd, void* buffer, std::size_t size) {
  return perform(size > kQuick, [&](io_uring_sqe* entry) {
    io_uring_prep_read(entry, fd, buffer, in_one_operation(size), kPosition);
  });
}

long write_by_ring(int fd, const void* buffer, std::size_t size) {
  return perform(size > kQuick, [&](io_uring_sqe* entry) {
    io_uring_prep_write(entry, fd, buffer, in_one_operation(size), kPosition);
  });
}

// What was cancelled has not begun; in any other case the number is free.
long close_by_ring(int fd) {
  const long e = perform(true, [&](io_uring_sqe* entry) { io_uring_prep_close(entry, fd); }, false);
  return e == -ECANCELED ? close_fd(fd) : e;
}

}  // namespace smarm
