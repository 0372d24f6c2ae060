#include "runtime/io/socket_call.hpp"
#include "runtime/sched/blocks.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

namespace smarm {

namespace {

// 0: connected; EINPROGRESS: not yet; else why not.
int connection_state(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (const long e = raw_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &size); e < 0)
    return static_cast<int>(-e);
  if (error) return error;
  sockaddr_storage peer;
  size = sizeof peer;
  const long e = raw_syscall(SYS_getpeername, fd, &peer, &size);
  return e == -ENOTCONN ? EINPROGRESS : static_cast<int>(-e);
}

smarm_socket::Kind kind_of(int fd) {
  int protocol = 0;
  socklen_t size = sizeof protocol;
  const long e = raw_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size);
  if (e == -ENOTSOCK) return smarm_socket::Kind::file;
  return e == 0 && protocol == IPPROTO_TCP ? smarm_socket::Kind::tcp : smarm_socket::Kind::socket;
}

std::size_t bytes_of(const msghdr& message) {
  std::size_t sum = 0;
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) sum += message.msg_iov[i].iov_len;
  return sum;
}

// Another actor's stack, which may hibernate, can be where a buffer lies. The kernel does not thaw
// it: raw.cpp.
template <class F>
bool any_buffer(const SocketCall& call, F f) {
  if (!call.is_message) return f(call.buffer);
  const auto& message = *static_cast<const msghdr*>(call.buffer);
  bool any = false;
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) any = f(message.msg_iov[i].iov_base) || any;
  return any;
}

// Before it was accepted: accept(2).
bool connection_has_gone(long n) {
  switch (-n) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH: return true;
    default: return false;
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
  FdEntry* entry = nullptr;
  error = current_backend().adopt(fd, entry, generation);
  if (error) return nullptr;
  void* memory = alloc_block(sizeof(smarm_socket));
  if (!memory) {
    current_backend().forget(fd, generation);
    error = ENOMEM;
    return nullptr;
  }
  auto* s = new (memory) smarm_socket;
  s->fd = fd;
  s->generation = generation;
  s->entry = entry;
  s->ring = current_backend().is_ring();
  s->gate = &current_worker()->runtime.gate();
  s->runtime = current_worker()->runtime.number();
  s->kind = kind_of(fd);
  return s;
}

void close_socket(smarm_socket* s) {
  s->closed.store(true, std::memory_order_release);
  {
    // From any thread: the runtime may be gone already, and its poller with it.
    const ForeignCall call(*s->gate);
    const bool alone = s->references.load(std::memory_order_relaxed) == 1;
    RuntimeCore* rt = call.runtime(s->runtime);
    if (rt && !(s->ring && alone)) backend_of(*rt).forget(s->fd, s->generation);
  }
  InUse::drop(*s);
}

void free_socket(smarm_socket& s) {
  close_fd(s.fd);
  free_block(&s, sizeof s);
}

int call_slowly(const SocketCall& call, Attempts& attempts, long& n, std::int64_t timeout_ns,
                std::uint64_t deadline) {
  smarm_socket& s = call.socket;
  bool thawed = false;
  FalseAlarms alarms;  // the ring's: an edge comes once
  bool last = false;   // the time has run out: an edge may have come that nobody has seen yet
  for (;;) {
    if (s.closed.load(std::memory_order_acquire)) return EBADF;
    if (n == kNotTried && (last || !attempts.pointless())) {
      any_buffer(call, [](const void* buffer) { return thaw_buffer(buffer), false; });
      attempts.begin();
      n = call.attempt(call);
    }
    const long result = std::exchange(n, kNotTried);
    if (result == -EAGAIN && !last && attempts.again()) continue;
    if (result != -EAGAIN && result != kNotTried) {
      attempts.end(result);
      if (result == -EINTR) continue;
      if (result == -EFAULT && !thawed && any_buffer(call, thaw_frozen_at)) {
        thawed = true;
        continue;
      }
      n = result;
      return n >= 0 ? 0 : static_cast<int>(-n);
    }
    if (last) return SMARM_E_TIMEOUT;
    if (deadline == 0) deadline = deadline_of(timeout_ns);
    int status = s.ring ? alarms.pause(s.fd, call.direction, deadline) : 0;
    if (status == 0) status = attempts.sleep(deadline);
    if (status != 0 && status != SMARM_E_TIMEOUT) return status;
    last = status == SMARM_E_TIMEOUT;
    thawed = false;  // it has had time to freeze again
    current_worker()->fetch_next();
  }
}

int receive_message(smarm_socket& s, msghdr& message, std::int64_t timeout_ns, std::size_t& done) {
  constexpr auto attempt = [](const SocketCall& c) {
    const auto* m = static_cast<const msghdr*>(c.buffer);
    if (c.socket.kind == smarm_socket::Kind::file)
      return raw_syscall(SYS_readv, c.socket.fd, m->msg_iov, m->msg_iovlen);
    return raw_syscall(SYS_recvmsg, c.socket.fd, m, MSG_CMSG_CLOEXEC);
  };
  const std::size_t size = bytes_of(message);
  if (size == 0 && s.kind == smarm_socket::Kind::tcp) {
    done = 0;
    return 0;
  }
  long n = 0;
  const int status =
      call_socket({s, kReadable, &message, size, attempt, true}, attempt, n, timeout_ns);
  if (status == 0) done = static_cast<std::size_t>(n);
  return status;
}

int send_message(smarm_socket& s, const msghdr& message, std::int64_t timeout_ns,
                 std::size_t& done) {
  constexpr auto attempt = [](const SocketCall& c) {
    const auto* m = static_cast<const msghdr*>(c.buffer);
    if (c.socket.kind == smarm_socket::Kind::file)
      return raw_syscall(SYS_writev, c.socket.fd, m->msg_iov, m->msg_iovlen);
    return raw_syscall(SYS_sendmsg, c.socket.fd, m, MSG_NOSIGNAL);
  };
  long n = 0;
  const int status = call_socket({s, kWritable, &message, bytes_of(message), attempt, true},
                                 attempt, n, timeout_ns);
  if (status == 0) done = static_cast<std::size_t>(n);
  return status;
}

int accept_socket(smarm_socket& s, std::int64_t timeout_ns, int& fd) {
  constexpr auto attempt = [](const SocketCall& c) {
    long n = 0;
    do {
      n = raw_syscall(SYS_accept4, c.socket.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (connection_has_gone(n));
    return n;
  };
  long n = 0;
  const int status = call_socket({s, kReadable, nullptr, 0, attempt}, attempt, n, timeout_ns);
  if (status == 0) fd = static_cast<int>(n);
  return status;
}

int connect_socket(smarm_socket& s, const void* address, std::uint32_t length,
                   std::int64_t timeout_ns) {
  if (is_foreign(s)) return EXDEV;
  const InUse in_use(s);
  Attempts attempts(s, kWritable, 0);
  attempts.clear();
  const std::uint64_t deadline = deadline_of(timeout_ns);
  int state = 0;
  // A Unix listener whose queue is full: no event tells when there is room.
  for (Naps naps;;) {
    state = static_cast<int>(-raw_syscall(SYS_connect, s.fd, address, length));
    if (state != EAGAIN) break;
    if (int status = naps.take(deadline)) return status;
  }
  // A fresh socket counts as hung up, and that edge may come in late: only the connection itself is
  // proof.
  bool last = false;  // the time has run out: it may stand since
  while (state == EINPROGRESS && !last) {
    const int status = attempts.sleep(deadline);
    if (status != 0 && status != SMARM_E_TIMEOUT) return status;
    last = status == SMARM_E_TIMEOUT;
    attempts.clear();
    state = connection_state(s.fd);
  }
  if (state == EINPROGRESS) return SMARM_E_TIMEOUT;
  attempts.end(0);
  return state;
}

}  // namespace smarm
