#include "runtime/io/socket.hpp"

#include "runtime/context/frozen_stack.hpp"
#include "runtime/sched/blocks.hpp"
#include "runtime/sched/park.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <utility>

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
    if (s.references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    ::close(s.fd);
    free_block(&s, sizeof s);
  }

 private:
  smarm_socket& socket_;
};

std::uint64_t deadline_of(std::int64_t timeout_ns) {
  return timeout_ns < 0 ? kNever
                        : deadline_after(current_worker()->runtime.clock().now_ns(), timeout_ns);
}

EpollPoller& poller_of(RuntimeCore& rt) { return static_cast<EpollPoller&>(rt.poller()); }

bool is_foreign(const smarm_socket& s) { return s.runtime != current_worker()->runtime.number(); }

// Each a system call's result, or an errno below zero. errno is read here and nowhere else: an
// actor may come back from a wait on another thread, and compilers keep errno's address across a
// call.
ssize_t result(ssize_t n) { return n >= 0 ? n : -errno; }
[[gnu::noinline, gnu::noipa]] ssize_t try_read(int fd, void* buffer, std::size_t size) {
  return result(::read(fd, buffer, size));
}
[[gnu::noinline, gnu::noipa]] ssize_t try_write(int fd, const void* buffer, std::size_t size) {
  return result(::send(fd, buffer, size, MSG_NOSIGNAL));
}
[[gnu::noinline, gnu::noipa]] ssize_t try_accept(int fd) {
  return result(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}
[[gnu::noinline, gnu::noipa]] int try_connect(int fd, const void* address, std::uint32_t length) {
  return static_cast<int>(-result(::connect(fd, static_cast<const sockaddr*>(address), length)));
}
// 0: connected; EINPROGRESS: not yet; else why not.
[[gnu::noinline, gnu::noipa]] int connection_state(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) return errno;
  if (error) return error;
  sockaddr_storage peer;
  size = sizeof peer;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0) return 0;
  return errno == ENOTCONN ? EINPROGRESS : errno;
}

// Waits on EAGAIN, in the order: forget old edges, try, sleep until a new one. Any other outcome
// says nothing of what is left: the edge is put back, for those who wait too. A buffer on a stack
// that hibernates: as in raw.cpp.
template <class F>
int retry(smarm_socket& s, Direction d, std::int64_t timeout_ns, const void* buffer, ssize_t& n,
          F attempt) {
  if (is_foreign(s)) return EXDEV;
  InUse in_use(s);
  EpollPoller& poller = poller_of(current_worker()->runtime);
  std::uint64_t deadline = 0;
  bool has_deadline = false, thawed = false;
  thaw_buffer(buffer);
  for (;;) {
    if (s.closed.load(std::memory_order_acquire)) return EBADF;
    poller.clear_ready(s.fd, d);
    n = attempt();
    if (n != -EAGAIN) {
      poller.set_ready(s.fd, d);
      if (n == -EINTR) continue;
      if (n == -EFAULT && !thawed && thaw_frozen_at(buffer)) {
        thawed = true;
        continue;
      }
      return n >= 0 ? 0 : static_cast<int>(-n);
    }
    if (!std::exchange(has_deadline, true)) deadline = deadline_of(timeout_ns);
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
  error = current_poller().adopt(fd, generation);
  if (error) return nullptr;
  void* memory = alloc_block(sizeof(smarm_socket));
  if (!memory) {
    current_poller().forget(fd, generation);
    error = ENOMEM;
    return nullptr;
  }
  auto* s = new (memory) smarm_socket;
  s->fd = fd;
  s->generation = generation;
  s->gate = &current_worker()->runtime.gate();
  s->runtime = current_worker()->runtime.number();
  return s;
}

void close_socket(smarm_socket* s) {
  s->closed.store(true, std::memory_order_release);
  {
    // From any thread: the runtime may be gone already, and its poller with it.
    const ForeignCall call(*s->gate);
    if (RuntimeCore* rt = call.runtime(s->runtime)) poller_of(*rt).forget(s->fd, s->generation);
  }
  InUse::drop(*s);
}

int read_socket(smarm_socket& s, void* buffer, std::size_t size, std::int64_t timeout_ns,
                std::size_t& done) {
  ssize_t n = 0;
  const int status =
      retry(s, kReadable, timeout_ns, buffer, n, [&] { return try_read(s.fd, buffer, size); });
  if (status == 0) done = static_cast<std::size_t>(n);
  return status;
}

int write_socket(smarm_socket& s, const void* buffer, std::size_t size, std::int64_t timeout_ns,
                 std::size_t& done) {
  ssize_t n = 0;
  const int status =
      retry(s, kWritable, timeout_ns, buffer, n, [&] { return try_write(s.fd, buffer, size); });
  if (status == 0) done = static_cast<std::size_t>(n);
  return status;
}

int accept_socket(smarm_socket& s, std::int64_t timeout_ns, int& fd) {
  ssize_t n = 0;
  const int status = retry(s, kReadable, timeout_ns, nullptr, n, [&] { return try_accept(s.fd); });
  if (status == 0) fd = static_cast<int>(n);
  return status;
}

int connect_socket(smarm_socket& s, const void* address, std::uint32_t length,
                   std::int64_t timeout_ns) {
  if (is_foreign(s)) return EXDEV;
  InUse in_use(s);
  EpollPoller& poller = poller_of(current_worker()->runtime);
  poller.clear_ready(s.fd, kWritable);
  int state = try_connect(s.fd, address, length);
  if (state == EAGAIN) state = EINPROGRESS;
  // A fresh socket counts as hung up, and that edge may come in late: only the connection itself is
  // proof.
  const std::uint64_t deadline = state == EINPROGRESS ? deadline_of(timeout_ns) : 0;
  while (state == EINPROGRESS) {
    if (int status = poller.wait_socket(s.fd, s.generation, kWritable, deadline)) return status;
    poller.clear_ready(s.fd, kWritable);
    state = connection_state(s.fd);
  }
  poller.set_ready(s.fd, kWritable);
  return state;
}

}  // namespace smarm
