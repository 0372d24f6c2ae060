// The same on a ring: a receive and a send for each request, submitted in batches; or one receive
// for a connection's life, into buffers that the kernel picks, and a send for each request.

#include "tests/bench/wire/server.hpp"

#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <optional>
#include <vector>

namespace wire {
namespace {

constexpr std::size_t kBufferSize = 2048;

struct Connection {
  int fd = -1;
  bool sending = false;
  char buffer[kBufferSize];  // multishot: of what is being sent
};

// Buffers that the kernel picks from. They come back at once: what was received is copied.
class Buffers {
 public:
  explicit Buffers(io_uring& ring) {
    void* memory = nullptr;
    if (::posix_memalign(&memory, 4096, kCount * sizeof(io_uring_buf)) != 0) die("posix_memalign");
    ring_ = static_cast<io_uring_buf_ring*>(memory);
    io_uring_buf_reg reg{};
    reg.ring_addr = reinterpret_cast<std::uint64_t>(memory);
    reg.ring_entries = kCount;
    if (const int e = io_uring_register_buf_ring(&ring, &reg, 0); e < 0) {
      errno = -e;
      die("io_uring_register_buf_ring");
    }
    io_uring_buf_ring_init(ring_);
    for (unsigned short i = 0; i < kCount; ++i) give(i);
  }
  char* at(unsigned short i) { return bytes_.data() + i * kBufferSize; }
  void give(unsigned short i) {
    io_uring_buf_ring_add(ring_, at(i), kBufferSize, i, io_uring_buf_ring_mask(kCount), 0);
    io_uring_buf_ring_advance(ring_, 1);
  }

 private:
  static constexpr unsigned short kCount = 4096;
  io_uring_buf_ring* ring_ = nullptr;
  std::vector<char> bytes_ = std::vector<char>(kCount * kBufferSize);
};

class Loop {
 public:
  Loop(std::uint16_t port, Answer answer, bool multishot)
      : listener_(listen_on(port)), answer_(answer), multishot_(multishot) {
    io_uring_params p{};
    p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
    p.cq_entries = 8192;
    if (const int e = io_uring_queue_init_params(2048, &ring_, &p); e < 0) {
      errno = -e;
      die("io_uring_queue_init");
    }
    if (multishot_) buffers_.emplace(ring_);
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
        handle(static_cast<Connection*>(io_uring_cqe_get_data(cqe)), *cqe);
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
    if (multishot_) {
      io_uring_prep_recv_multishot(sqe, c.fd, nullptr, 0, 0);
      sqe->flags |= IOSQE_BUFFER_SELECT;
      sqe->buf_group = 0;
    } else {
      io_uring_prep_recv(sqe, c.fd, c.buffer, sizeof c.buffer, 0);
    }
    io_uring_sqe_set_data(sqe, &c);
  }

  void answer(Connection& c, std::size_t size) {
    c.sending = true;
    io_uring_sqe* sqe = next();
    const auto bytes = answer_({c.buffer, size});
    io_uring_prep_send(sqe, c.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    io_uring_sqe_set_data(sqe, multishot_ ? kSent : &c);
  }

  void handle(Connection* c, const io_uring_cqe& completion) {
    const int result = completion.res;
    if (c == kSent) return;
    if (!c) {
      if (result < 0) return;
      const int one = 1;
      ::setsockopt(result, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      connections_.emplace_back();
      connections_.back().fd = result;
      return receive(connections_.back());
    }
    if (result == -ENOBUFS) return receive(*c);
    if (result <= 0) {
      ::close(c->fd);
    } else if (multishot_) {
      const auto buffer = static_cast<unsigned short>(completion.flags >> IORING_CQE_BUFFER_SHIFT);
      std::memcpy(c->buffer, buffers_->at(buffer), static_cast<std::size_t>(result));
      buffers_->give(buffer);
      answer(*c, static_cast<std::size_t>(result));
      if (!(completion.flags & IORING_CQE_F_MORE)) receive(*c);
    } else if (c->sending) {
      receive(*c);
    } else {
      answer(*c, static_cast<std::size_t>(result));
    }
  }

  static inline Connection* const kSent = reinterpret_cast<Connection*>(alignof(Connection));

  const int listener_;
  const Answer answer_;
  const bool multishot_;
  io_uring ring_{};
  std::optional<Buffers> buffers_;
  std::deque<Connection> connections_;  // they stay where they are; lives are few here
};

}  // namespace

void serve_by_uring(std::uint16_t port, Answer answer, bool multishot) {
  Loop(port, answer, multishot).run();
}

}  // namespace wire
