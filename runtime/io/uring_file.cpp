#include "runtime/io/uring_file.hpp"

#include "runtime/io/uring_poller.hpp"

#include <fcntl.h>

#include <algorithm>

namespace smarm {

namespace {

constexpr std::uint64_t kPosition = ~std::uint64_t{0};  // as offset: where the file's position is

unsigned count(std::size_t size) {
  return static_cast<unsigned>(std::min<std::size_t>(size, std::size_t{1} << 30));
}

template <class Prepare>
long perform(Prepare prepare) {
  return current_ring().perform(WaitKind::blocking, prepare);
}

}  // namespace

bool ring_serves_files() {
  const Actor* self = current_actor();
  return self && !self->dying && current_backend().is_ring();
}

long open_by_ring(const char* path, int flags, unsigned mode) {
  return perform(
      [&](io_uring_sqe* entry) { io_uring_prep_openat(entry, AT_FDCWD, path, flags, mode); });
}

long read_by_ring(int fd, void* buffer, std::size_t size) {
  return perform(
      [&](io_uring_sqe* entry) { io_uring_prep_read(entry, fd, buffer, count(size), kPosition); });
}

long write_by_ring(int fd, const void* buffer, std::size_t size) {
  return perform(
      [&](io_uring_sqe* entry) { io_uring_prep_write(entry, fd, buffer, count(size), kPosition); });
}

long close_by_ring(int fd) {
  return perform([&](io_uring_sqe* entry) { io_uring_prep_close(entry, fd); });
}

}  // namespace smarm
