// read and write of any descriptor without ever blocking the thread, O_NONBLOCK or not.

#include "runtime/io/socket.hpp"

#include "runtime/context/frozen_stack.hpp"
#include "runtime/sched/park.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <utility>

namespace smarm {

namespace {

bool ready_now(int fd, short events) {
  pollfd p{fd, events, 0};
  return ::poll(&p, 1, 0) > 0;
}

bool regular(int fd) {
  struct stat s{};
  return ::fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
}

// A count, or an errno below zero. errno is read here and nowhere else: an actor may come back from
// a wait on another thread, and compilers keep errno's address across a call.
ssize_t result(ssize_t n) { return n >= 0 ? n : -errno; }
bool knows_no_nowait(ssize_t n) { return n == -EOPNOTSUPP || n == -EINVAL || n == -ENOSYS; }

// One attempt that cannot block: MSG_DONTWAIT on sockets, RWF_NOWAIT where the file knows it, else
// a look by poll first (sound while nobody else reads from the same blocking descriptor in
// between). A regular file is never waited for.
[[gnu::noinline, gnu::noipa]] ssize_t try_read(int fd, void* buffer, std::size_t size) {
  ssize_t n = result(::recv(fd, buffer, size, MSG_DONTWAIT));
  if (n != -ENOTSOCK) return n;
  iovec v{buffer, size};
  n = result(::preadv2(fd, &v, 1, -1, RWF_NOWAIT));
  if (n == -EAGAIN && regular(fd)) return result(::read(fd, buffer, size));
  if (!knows_no_nowait(n)) return n;
  return ready_now(fd, POLLIN) ? result(::read(fd, buffer, size)) : -EAGAIN;
}

[[gnu::noinline, gnu::noipa]] ssize_t try_write(int fd, const void* buffer, std::size_t size) {
  ssize_t n = result(::send(fd, buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL));
  if (n != -ENOTSOCK) return n;
  iovec v{const_cast<void*>(buffer), size};
  n = result(::pwritev2(fd, &v, 1, -1, RWF_NOWAIT));
  if (n == -EAGAIN && regular(fd)) return result(::write(fd, buffer, size));
  if (!knows_no_nowait(n)) return n;
  if (!ready_now(fd, POLLOUT)) return -EAGAIN;
  // A writable pipe takes that much without blocking.
  return result(::write(fd, buffer, size < PIPE_BUF ? size : PIPE_BUF));
}

// The time that is left of a deadline, as a timeout.
std::int64_t left(std::uint64_t deadline) {
  if (deadline == kNever) return SMARM_FOREVER;
  const std::uint64_t now = current_worker()->runtime.clock().now_ns();
  return deadline > now ? static_cast<std::int64_t>(deadline - now) : 0;
}

// The kernel does not thaw a stack that hibernates. A buffer there is thawed first, since what a
// datagram or an eventfd gives is gone after an attempt that failed; frozen in between it is a
// fault, which is mended once.
template <class F>
int retry_raw(int fd, Direction d, std::int64_t timeout_ns, const void* buffer, std::size_t& done,
              F attempt) {
  std::uint64_t deadline = 0;
  bool has_deadline = false, thawed = false;
  FalseAlarms alarms;
  thaw_buffer(buffer);
  for (;;) {
    const ssize_t n = attempt();
    if (n >= 0) {
      done = static_cast<std::size_t>(n);
      return 0;
    }
    if (n == -EINTR) continue;
    if (n == -EFAULT && !thawed && thaw_frozen_at(buffer)) {
      thawed = true;
      continue;
    }
    if (n != -EAGAIN) return static_cast<int>(-n);
    if (!std::exchange(has_deadline, true)) {
      deadline = deadline_of(timeout_ns);
    } else if (left(deadline) == 0) {
      return SMARM_E_TIMEOUT;
    }
    if (int status = alarms.pause(fd, d, deadline)) return status;
    if (int status = current_backend().wait_raw(fd, d, left(deadline))) return status;
  }
}

}  // namespace

int read_raw(int fd, void* buffer, std::size_t size, std::int64_t timeout_ns, std::size_t& done) {
  if (size == 0) {  // of a socket recv would wait all the same
    done = 0;
    return 0;
  }
  return retry_raw(fd, kReadable, timeout_ns, buffer, done,
                   [&] { return try_read(fd, buffer, size); });
}

int write_raw(int fd, const void* buffer, std::size_t size, std::int64_t timeout_ns,
              std::size_t& done) {
  return retry_raw(fd, kWritable, timeout_ns, buffer, done,
                   [&] { return try_write(fd, buffer, size); });
}

}  // namespace smarm
