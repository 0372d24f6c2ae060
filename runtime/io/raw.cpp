// read and write of any descriptor without ever blocking the thread, O_NONBLOCK or not.

#include "runtime/io/socket.hpp"

#include "runtime/sched/park.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

namespace smarm {

namespace {

bool ready_now(int fd, short events) {
  pollfd p{fd, events, 0};
  return ::poll(&p, 1, 0) > 0;
}

// One attempt that cannot block: MSG_DONTWAIT on sockets, RWF_NOWAIT where the file knows it, else
// a look by poll first (sound while nobody else reads from the same blocking descriptor in
// between).
ssize_t try_read(int fd, void* buffer, std::size_t size) {
  ssize_t n = ::recv(fd, buffer, size, MSG_DONTWAIT);
  if (n >= 0 || errno != ENOTSOCK) return n;
  iovec v{buffer, size};
  n = ::preadv2(fd, &v, 1, -1, RWF_NOWAIT);
  if (n >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)) return n;
  if (!ready_now(fd, POLLIN)) {
    errno = EAGAIN;
    return -1;
  }
  return ::read(fd, buffer, size);
}

ssize_t try_write(int fd, const void* buffer, std::size_t size) {
  ssize_t n = ::send(fd, buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n >= 0 || errno != ENOTSOCK) return n;
  iovec v{const_cast<void*>(buffer), size};
  n = ::pwritev2(fd, &v, 1, -1, RWF_NOWAIT);
  if (n >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)) return n;
  if (!ready_now(fd, POLLOUT)) {
    errno = EAGAIN;
    return -1;
  }
  return ::write(
      fd, buffer,
      size < PIPE_BUF ? size : PIPE_BUF);  // a writable pipe takes that much without blocking
}

// The time that is left of a deadline, as a timeout.
std::int64_t left(std::uint64_t deadline) {
  if (deadline == kNever) return SMARM_FOREVER;
  const std::uint64_t now = current_worker()->runtime.clock().now_ns();
  return deadline > now ? static_cast<std::int64_t>(deadline - now) : 0;
}

template <class F>
int retry_raw(int fd, Direction d, std::int64_t timeout_ns, F attempt) {
  std::uint64_t deadline = 0;
  for (bool first = true;; first = false) {
    if (attempt() >= 0) return 0;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return errno;
    if (first)
      deadline = timeout_ns < 0
                     ? kNever
                     : deadline_after(current_worker()->runtime.clock().now_ns(), timeout_ns);
    if (int status = current_poller().wait_raw(fd, d, left(deadline))) return status;
  }
}

}  // namespace

int read_raw(int fd, void* buffer, std::size_t size, std::int64_t timeout_ns, std::size_t& done) {
  return retry_raw(fd, kReadable, timeout_ns, [&] {
    const ssize_t n = try_read(fd, buffer, size);
    if (n >= 0) done = static_cast<std::size_t>(n);
    return n;
  });
}

int write_raw(int fd, const void* buffer, std::size_t size, std::int64_t timeout_ns,
              std::size_t& done) {
  return retry_raw(fd, kWritable, timeout_ns, [&] {
    const ssize_t n = try_write(fd, buffer, size);
    if (n >= 0) done = static_cast<std::size_t>(n);
    return n;
  });
}

}  // namespace smarm
