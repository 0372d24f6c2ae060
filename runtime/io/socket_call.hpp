// Reading from and writing to a socket of the RAII types: the first attempt, which stands in the
// C function itself (base/syscall.hpp says why). What follows one that does not succeed is in
// socket.cpp.
#pragma once

#include "runtime/base/syscall.hpp"
#include "runtime/context/frozen_stack.hpp"
#include "runtime/io/epoll_poller.hpp"
#include "runtime/io/socket.hpp"
#include "runtime/io/uring_socket.hpp"
#include "runtime/sched/park.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace smarm {

// Attempts until one does not say EAGAIN. Before a sleep the order is: clear the edge, try, sleep
// until a new one. An attempt that was made behind a clearing and succeeded puts the edge back,
// for more may be left, and for others who wait; but a short read of a TCP socket has taken all, as
// epoll(7) has it. Then the next read sleeps at once, which saves the attempt that would fail.
// The ring knows no edges: whoever waits there hears of what has come before as well.
class Attempts {
 public:
  // size: how much is asked for; 0 when that is no number of bytes. scattered: in several pieces.
  Attempts(smarm_socket& s, Direction d, std::size_t size, bool scattered = false)
      : socket_(s),
        direction_(d),
        size_(size),
        scattered_(scattered),
        tells_(!s.ring && s.kind == smarm_socket::Kind::tcp && d == kReadable && size != 0) {}

  // There is nothing since the last attempt, which took all. relaxed: an edge that is missed here
  // is seen under the lock, before the sleep.
  bool pointless() const {
    return tells_ && !(socket_.entry->edges.load(std::memory_order_relaxed) &
                       (edge(kReadable) | kUnreliable));
  }
  void begin() {
    if (tells_) clear();
  }
  // It said EAGAIN. True: try once more before sleeping.
  bool again() {
    if (cleared_ || socket_.ring) return false;
    clear();
    return true;
  }
  // Short is also what ends at a piece that lies on a stack that hibernates.
  void end(long n) {
    const bool took_all = tells_ && n > 0 && static_cast<std::size_t>(n) < size_ &&
                          (!scattered_ || frozen_stacks() == 0);
    if (cleared_ && !took_all) restore_edge(*socket_.entry, direction_);
  }
  int sleep(std::uint64_t deadline) {
    if (socket_.ring) return wait_by_ring(socket_, direction_, deadline);
    cleared_ = false;
    return static_cast<EpollPoller&>(current_backend())
        .wait_socket(*socket_.entry, socket_.generation, direction_, deadline);
  }
  // acq_rel: the attempt that follows is behind it, and sees what the edge told of.
  void clear() {
    if (socket_.ring) return;
    cleared_ = true;
    socket_.entry->edges.fetch_and(~edge(direction_), std::memory_order_acq_rel);
  }

 private:
  smarm_socket& socket_;
  const Direction direction_;
  const std::size_t size_;
  const bool scattered_;
  const bool tells_;  // by how much it gives
  bool cleared_ = false;
};

// One system call, which must not wait.
struct SocketCall {
  smarm_socket& socket;
  Direction direction;
  const void* buffer;  // of so many bytes; or a msghdr, which names some
  std::size_t size;
  long (*attempt)(const SocketCall&);
  bool is_message = false;
};

inline constexpr long kNotTried = -100'000;
// Goes on behind an attempt that gave `n`. `deadline`: 0 when nobody has asked for it yet. 0 with
// the result in n, SMARM_E_TIMEOUT, an errno or kKilled.
int call_slowly(const SocketCall& call, Attempts& attempts, long& n, std::int64_t timeout_ns,
                std::uint64_t deadline);

inline bool is_foreign(const smarm_socket& s) {
  return s.runtime != current_worker()->runtime.number();
}

// A reader that has taken all sleeps here, at once, with few frames on its stack: where a thousand
// take turns each line of those comes from afar.
template <class Attempt>
[[gnu::always_inline]] inline int call_socket(const SocketCall& call, Attempt attempt, long& n,
                                              std::int64_t timeout_ns) {
  if (is_foreign(call.socket)) [[unlikely]]
    return EXDEV;
  const InUse in_use(call.socket);
  Attempts attempts(call.socket, call.direction, call.size, call.is_message);
  n = kNotTried;
  std::uint64_t deadline = 0;
  const auto may_try = [&] {
    return frozen_stacks() == 0 && !call.socket.closed.load(std::memory_order_acquire);
  };
  bool tries = may_try();
  if (tries && attempts.pointless()) {
    deadline = deadline_of(timeout_ns);
    if (int status = attempts.sleep(deadline); status != 0 && status != SMARM_E_TIMEOUT)
      return status;
    current_worker()->fetch_next();
    tries = may_try() && !attempts.pointless();
  }
  if (tries) {
    attempts.begin();
    n = attempt(call);
    if (n >= 0) [[likely]] {
      attempts.end(n);
      return 0;
    }
  }
  return call_slowly(call, attempts, n, timeout_ns, deadline);
}

// The same where the ring may carry it out instead.
template <class Attempt>
[[gnu::always_inline]] inline int transfer(const SocketCall& call, Attempt attempt,
                                           int (*by_ring)(const SocketCall&, std::int64_t, long&),
                                           std::int64_t timeout_ns, std::size_t& done) {
  long n = 0;
  int status = 0;
  if (call.socket.ring && !is_foreign(call.socket) && transfers_by_ring(call, timeout_ns))
      [[unlikely]] {
    status = by_ring(call, timeout_ns, n);
  } else {
    status = call_socket(call, attempt, n, timeout_ns);
  }
  if (status == 0) done = static_cast<std::size_t>(n);
  return status;
}

[[gnu::always_inline]] inline int read_socket(smarm_socket& s, void* buffer, std::size_t size,
                                              std::int64_t timeout_ns, std::size_t& done) {
  constexpr auto attempt = [](const SocketCall& c) {
    if (c.socket.kind == smarm_socket::Kind::file) [[unlikely]]
      return raw_syscall(SYS_read, c.socket.fd, c.buffer, c.size);
    return raw_syscall(SYS_recvfrom, c.socket.fd, c.buffer, c.size, 0, nullptr, nullptr);
  };
  if (size == 0) [[unlikely]] {  // recv would wait all the same
    done = 0;
    return s.closed.load(std::memory_order_acquire) ? EBADF : 0;
  }
  return transfer({s, kReadable, buffer, size, attempt}, attempt, receive_by_ring, timeout_ns,
                  done);
}

[[gnu::always_inline]] inline int write_socket(smarm_socket& s, const void* buffer,
                                               std::size_t size, std::int64_t timeout_ns,
                                               std::size_t& done) {
  constexpr auto attempt = [](const SocketCall& c) {
    if (c.socket.kind == smarm_socket::Kind::file) [[unlikely]]
      return raw_syscall(SYS_write, c.socket.fd, c.buffer, c.size);
    return raw_syscall(SYS_sendto, c.socket.fd, c.buffer, c.size, MSG_NOSIGNAL, nullptr, 0);
  };
  return transfer({s, kWritable, buffer, size, attempt}, attempt, send_by_ring, timeout_ns, done);
}

}  // namespace smarm
