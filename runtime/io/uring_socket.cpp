#include "runtime/io/uring_socket.hpp"

#include "runtime/io/socket_call.hpp"
#include "runtime/io/uring_poller.hpp"

namespace smarm {

namespace {

int is_there(const smarm_socket& s) { return s.closed.load(std::memory_order_acquire) ? EBADF : 0; }

// 0: once more.
int after_failure(const SocketCall& call, long error) {
  if (error == -EAGAIN || error == -EINTR) return 0;
  if (error == -ECANCELED) return is_there(call.socket);
  if (error == -EFAULT && thaw_frozen_at(call.buffer)) return 0;  // of another runtime's actor
  return static_cast<int>(-error);
}

// What is read now says whether there is more.
void note_what_is_left(const SocketCall& call, long n) {
  const bool all = n > 0 && static_cast<std::size_t>(n) < call.size;
  call.socket.drained.store(all, std::memory_order_relaxed);
}

}  // namespace

int wait_by_ring(smarm_socket& s, Direction d, std::uint64_t deadline) {
  if (current_actor()->dying) return ECANCELED;
  for (;;) {
    const int status = current_ring().await_ready(s.fd, d, deadline, s.closed);
    if (status != ECANCELED || is_there(s) != 0) return status == ECANCELED ? EBADF : status;
  }
}

bool transfers_by_ring(const SocketCall& call, std::int64_t timeout_ns) {
  return call.socket.kind == smarm_socket::Kind::tcp && timeout_ns != 0 &&
         current_ring().transfers() && !current_actor()->dying;
}

int receive_by_ring(const SocketCall& call, std::int64_t timeout_ns, long& n) {
  smarm_socket& s = call.socket;
  const InUse in_use(s);
  std::uint64_t deadline = 0;
  if (!s.drained.load(std::memory_order_relaxed)) {
    if (int status = is_there(s)) return status;
    n = call.attempt(call);
    if (n >= 0) {
      note_what_is_left(call, n);
      return 0;
    }
    if (int status = after_failure(call, n)) return status;
  }
  deadline = deadline_of(timeout_ns);
  for (;;) {
    const int status =
        current_ring().await(WaitKind::readable, deadline, s.closed, n, [&](io_uring_sqe* entry) {
          io_uring_prep_recv(entry, s.fd, const_cast<void*>(call.buffer), call.size, 0);
          entry->ioprio = IORING_RECVSEND_POLL_FIRST;
        });
    if (status != 0) return status;
    if (n >= 0) {
      note_what_is_left(call, n);
      return 0;
    }
    if (int failed = after_failure(call, n)) return failed;
  }
}

int send_by_ring(const SocketCall& call, std::int64_t timeout_ns, long& n) {
  smarm_socket& s = call.socket;
  const InUse in_use(s);
  std::uint64_t deadline = 0;
  for (;;) {
    if (int status = is_there(s)) return status;
    n = current_ring().perform(WaitKind::writable, [&](io_uring_sqe* entry) {
      io_uring_prep_send(entry, s.fd, call.buffer, call.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    });
    if (n >= 0) return 0;
    if (int failed = after_failure(call, n)) return failed;
    if (deadline == 0) deadline = deadline_of(timeout_ns);
    if (n != -EAGAIN) continue;
    if (int status = wait_by_ring(s, kWritable, deadline)) return status;
  }
}

}  // namespace smarm
