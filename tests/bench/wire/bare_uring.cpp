// The same on a ring: a receive and a send for each request, submitted in batches.

#include "tests/bench/wire/server.hpp"

#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>

namespace wire {
namespace {

struct Connection {
  int fd = -1;
  bool sending = false;
  char buffer[2048];
};

class Loop {
 public:
  Loop(std::uint16_t port, Answer answer) : listener_(listen_on(port)), answer_(answer) {
    io_uring_params p{};
    p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
    p.cq_entries = 8192;
    if (const int e = io_uring_queue_init_params(2048, &ring_, &p); e < 0) {
      errno = -e;
      die("io_uring_queue_init");
    }
    io_uring_sqe* sqe = next();
    io_uring_prep_multishot_accept(sqe, listener_, nullptr, nullptr, SOCK_CLOEXEC);
    io_uring_sqe_set_data(sqe, nullptr);
  }

  void run() {
    for (;;) {
      const int submitted = io_uring_submit_and_wait(&ring_, 1);
      if (submitted < 0 && submitted != -EINTR) {
        errno = -submitted;
        die("io_uring_submit_and_wait");
      }
      unsigned head = 0, seen = 0;
      io_uring_cqe* cqe = nullptr;
      io_uring_for_each_cqe(&ring_, head, cqe) {
        handle(static_cast<Connection*>(io_uring_cqe_get_data(cqe)), cqe->res);
        ++seen;
      }
      io_uring_cq_advance(&ring_, seen);
    }
  }

 private:
  io_uring_sqe* next() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (!sqe) {
      io_uring_submit(&ring_);
      sqe = io_uring_get_sqe(&ring_);
    }
    return sqe;
  }

  void receive(Connection& c) {
    c.sending = false;
    io_uring_sqe* sqe = next();
    io_uring_prep_recv(sqe, c.fd, c.buffer, sizeof c.buffer, 0);
    io_uring_sqe_set_data(sqe, &c);
  }

  void handle(Connection* c, int result) {
    if (!c) {
      if (result < 0) return;
      const int one = 1;
      ::setsockopt(result, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      connections_.emplace_back();
      connections_.back().fd = result;
      return receive(connections_.back());
    }
    if (result <= 0) {
      ::close(c->fd);
    } else if (c->sending) {
      receive(*c);
    } else {
      c->sending = true;
      io_uring_sqe* sqe = next();
      const auto bytes = answer_({c->buffer, static_cast<std::size_t>(result)});
      io_uring_prep_send(sqe, c->fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      io_uring_sqe_set_data(sqe, c);
    }
  }

  const int listener_;
  const Answer answer_;
  io_uring ring_{};
  std::deque<Connection> connections_;  // they stay where they are; lives are few here
};

}  // namespace

void serve_by_uring(std::uint16_t port, Answer answer) { Loop(port, answer).run(); }

}  // namespace wire
