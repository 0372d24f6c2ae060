#include "runtime/io/uring_socket.hpp"

#include "runtime/io/socket_call.hpp"
#include "runtime/io/uring_poller.hpp"

#include <cerrno>
#include <utility>

namespace smarm {

namespace {

int is_there(const smarm_socket& s) { return s.closed.load(std::memory_order_acquire) ? EBADF : 0; }

// Between the attempts of one call. 0: once more.
class Failures {
 public:
  int after(const SocketCall& call, long error) {
    if (error == -EAGAIN || error == -EINTR) return 0;
    if (error == -ECANCELED) return is_there(call.socket);
    // Of another runtime's actor.
    if (error == -EFAULT && !std::exchange(thawed_, true) && thaw_frozen_at(call.buffer)) return 0;
    return static_cast<int>(-error);
  }

 private:
  bool thawed_ = false;
};

// What is read now says whether there is more.
void note_what_is_left(const SocketCall& call, long n) {
  const bool all = n > 0 && static_cast<std::size_t>(n) < in_one_operation(call.size);
  call.socket.drained.store(all, std::memory_order_relaxed);
}

}  // namespace

// An event at the last moment, or behind it, is for the attempt that follows the time's end.
int wait_by_ring(smarm_socket& s, Direction d, std::uint64_t deadline) {
  if (current_actor()->dying) return ECANCELED;
  for (;;) {
    const int status = current_ring().await_ready(s.fd, *s.entry, d, deadline, s.closed);
    if (status == ECANCELED) {
      if (is_there(s) != 0) return EBADF;
      continue;
    }
    const bool late = deadline != kNever && current_worker()->runtime.clock().now_ns() >= deadline;
    return status == 0 && late ? SMARM_E_TIMEOUT : status;
  }
}

bool transfers_by_ring(const SocketCall& call, std::int64_t timeout_ns) {
  return call.socket.kind == smarm_socket::Kind::tcp && timeout_ns != 0 &&
         current_ring().transfers() && !current_actor()->dying;
}

int receive_by_ring(const SocketCall& call, std::int64_t timeout_ns, long& n) {
  smarm_socket& s = call.socket;
  const InUse in_use(s);
  Failures failures;
  bool waits = s.drained.load(std::memory_order_relaxed);
  std::uint64_t deadline = 0;
  for (;;) {
    if (int gone = is_there(s)) return gone;
    if (!waits) {
      n = call.attempt(call);
      waits = n == -EAGAIN;
    } else {
      if (deadline == 0) deadline = deadline_of(timeout_ns);
      const int status = current_ring().await(
          *s.entry, kReadable, deadline, s.closed, n, [&](io_uring_sqe* entry) {
            io_uring_prep_recv(entry, s.fd, const_cast<void*>(call.buffer),
                               in_one_operation(call.size), 0);
            entry->ioprio = IORING_RECVSEND_POLL_FIRST;
          });
      if (status != 0) return status;
    }
    if (n >= 0) {
      note_what_is_left(call, n);
      return 0;
    }
    if (int failed = failures.after(call, n)) return failed;
  }
}

int send_by_ring(const SocketCall& call, std::int64_t timeout_ns, long& n) {
  smarm_socket& s = call.socket;
  const InUse in_use(s);
  Failures failures;
  FalseAlarms alarms;
  std::uint64_t deadline = 0;
  for (bool last = false;;) {  // the time has run out: there may be room since
    if (int gone = is_there(s)) return gone;
    n = current_ring().perform(WaitKind::writable, [&](io_uring_sqe* entry) {
      io_uring_prep_send(entry, s.fd, call.buffer, in_one_operation(call.size),
                         MSG_DONTWAIT | MSG_NOSIGNAL);
    });
    if (n >= 0) return 0;
    if (int failed = failures.after(call, n)) return failed;
    if (n != -EAGAIN) continue;
    if (last) return SMARM_E_TIMEOUT;
    if (deadline == 0) deadline = deadline_of(timeout_ns);
    int status = alarms.pause(s.fd, kWritable, deadline);
    if (status == 0) status = wait_by_ring(s, kWritable, deadline);
    if (status != 0 && status != SMARM_E_TIMEOUT) return status;
    last = status == SMARM_E_TIMEOUT;
  }
}

}  // namespace smarm
