#include "runtime/io/socket.hpp"

#include "runtime/sched/blocks.hpp"
#include "runtime/sched/park.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <new>

namespace smarm {

namespace {

// Keeps the block alive while a call is under way: another actor may close the socket meanwhile.
class InUse {
 public:
  explicit InUse(smarm_socket& s) : socket_(s) {
    socket_.references.fetch_add(1, std::memory_order_relaxed);
  }  // relaxed: the caller has it
  ~InUse() { drop(socket_); }
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;
  static void drop(smarm_socket& s) {
    if (s.references.fetch_sub(1, std::memory_order_acq_rel) == 1) free_block(&s, sizeof s);
  }

 private:
  smarm_socket& socket_;
};

std::uint64_t deadline_of(std::int64_t timeout_ns) {
  return timeout_ns < 0 ? kNever
                        : deadline_after(current_worker()->runtime.clock().now_ns(), timeout_ns);
}

EpollPoller& poller_of(smarm_socket& s) { return static_cast<EpollPoller&>(s.runtime->poller()); }

// attempt() returns what the system call returned. Waits on EAGAIN, in the order: forget old edges,
// try, sleep until a new one.
template <class F>
int retry(smarm_socket& s, Direction d, std::int64_t timeout_ns, F attempt) {
  if (s.runtime != &current_worker()->runtime) return EXDEV;
  InUse in_use(s);
  EpollPoller& poller = poller_of(s);
  std::uint64_t deadline = 0;
  for (bool first = true;; first = false) {
    if (s.closed.load(std::memory_order_acquire)) return EBADF;
    poller.clear_ready(s.fd, d);
    if (attempt() >= 0) {
      poller.set_ready(s.fd, d);
      return 0;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return errno;
    if (first) deadline = deadline_of(timeout_ns);
    if (int status = poller.wait_socket(s.fd, s.generation, d, deadline)) return status;
  }
}

}  // namespace

smarm_socket* adopt_socket(int fd, int& error) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    error = errno;
    return nullptr;
  }
  std::uint32_t generation = 0;
  if ((error = current_poller().adopt(fd, generation))) return nullptr;
  void* memory = alloc_block(sizeof(smarm_socket));
  if (!memory) {
    current_poller().forget(fd, generation);
    error = ENOMEM;
    return nullptr;
  }
  auto* s = new (memory) smarm_socket;
  s->fd = fd;
  s->generation = generation;
  s->runtime = &current_worker()->runtime;
  return s;
}

void close_socket(smarm_socket* s) {
  s->closed.store(true, std::memory_order_release);
  Worker* w = current_worker();
  if (w && &w->runtime == s->runtime) poller_of(*s).forget(s->fd, s->generation);
  ::close(s->fd);
  InUse::drop(*s);
}

int read_socket(smarm_socket& s, void* buffer, std::size_t size, std::int64_t timeout_ns,
                std::size_t& done) {
  return retry(s, kReadable, timeout_ns, [&] {
    const ssize_t n = ::read(s.fd, buffer, size);
    if (n >= 0) done = static_cast<std::size_t>(n);
    return n;
  });
}

int write_socket(smarm_socket& s, const void* buffer, std::size_t size, std::int64_t timeout_ns,
                 std::size_t& done) {
  return retry(s, kWritable, timeout_ns, [&] {
    const ssize_t n = ::send(s.fd, buffer, size, MSG_NOSIGNAL);
    if (n >= 0) done = static_cast<std::size_t>(n);
    return n;
  });
}

int accept_socket(smarm_socket& s, std::int64_t timeout_ns, int& fd) {
  return retry(s, kReadable, timeout_ns, [&] {
    return fd = ::accept4(s.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  });
}

int connect_socket(smarm_socket& s, const void* address, std::uint32_t length,
                   std::int64_t timeout_ns) {
  if (s.runtime != &current_worker()->runtime) return EXDEV;
  InUse in_use(s);
  EpollPoller& poller = poller_of(s);
  poller.clear_ready(s.fd, kWritable);
  if (::connect(s.fd, static_cast<const sockaddr*>(address), length) == 0)
    return poller.set_ready(s.fd, kWritable), 0;
  if (errno != EINPROGRESS && errno != EAGAIN) return errno;
  // A fresh socket counts as hung up, and that edge may come in late: only the connection itself is
  // proof.
  for (const std::uint64_t deadline = deadline_of(timeout_ns);;) {
    if (int status = poller.wait_socket(s.fd, s.generation, kWritable, deadline)) return status;
    poller.clear_ready(s.fd, kWritable);
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(s.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) return errno;
    if (error) return error;
    sockaddr_storage peer;
    size = sizeof peer;
    if (::getpeername(s.fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0)
      return poller.set_ready(s.fd, kWritable), 0;
    if (errno != ENOTCONN) return errno;
  }
}

}  // namespace smarm
