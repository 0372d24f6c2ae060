#include "tests/bench/wire/load.hpp"

#include "tests/bench/wire/histogram.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace wire {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(5);  // for an answer, before it counts as lost

[[noreturn]] void fail(const char* what) {
  throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Fd connect_to(std::uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) fail("socket");
  const int one = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) fail("connect");
  return fd;
}

void send_request(int fd, const std::string& request) {
  const ssize_t n = ::send(fd, request.data(), request.size(), MSG_NOSIGNAL);
  if (n < 0) fail("send");
  if (static_cast<std::size_t>(n) != request.size()) throw std::runtime_error("a short send");
}

// Head and body of the answer that begins in `text`; 0: it is not all there.
std::size_t http_answer(const std::string& text) {
  const std::size_t head = text.find("\r\n\r\n");
  if (head == std::string::npos) return 0;
  if (!text.starts_with("HTTP/1.1 200")) throw std::runtime_error(text.substr(0, 60));
  for (const char* name : {"Content-Length: ", "content-length: "}) {
    const std::size_t at = text.find(name);
    if (at >= head) continue;
    std::size_t body = 0;
    std::from_chars(text.data() + at + std::strlen(name), text.data() + head, body);
    const std::size_t all = head + 4 + body;
    return text.size() >= all ? all : 0;
  }
  throw std::runtime_error("the answer has no Content-Length");
}

// One exchange, waiting in recv.
std::size_t answer_size(const Load& load) {
  if (load.echo) return load.request.size();
  const Fd fd = connect_to(load.port);
  send_request(fd.get(), load.request);
  std::string text;
  for (;;) {
    char buffer[8192];
    const ssize_t n = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (n < 0) fail("recv");
    if (n == 0) throw std::runtime_error("closed before the first answer");
    text.append(buffer, static_cast<std::size_t>(n));
    if (const std::size_t size = http_answer(text)) return size;
  }
}

struct Connection {
  Fd fd;
  std::size_t got = 0;
  Clock::time_point asked{};
};

class Clients {
 public:
  explicit Clients(const Load& load)
      : load_(load), answer_(answer_size(load)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    for (unsigned i = 0; i < load.connections; ++i) connections_.push_back({connect_to(load.port)});
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      epoll_event e{};
      e.events = EPOLLIN;
      e.data.u64 = i;
      if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connections_[i].fd.get(), &e)) fail("epoll_ctl");
    }
    for (Connection& c : connections_) ask(c);
  }

  // Answers until then; their latencies go to `latencies` when there is one.
  std::uint64_t run_until(Clock::time_point end, Histogram* latencies) {
    std::uint64_t answers = 0;
    epoll_event events[256];
    Clock::time_point now = Clock::now();
    Clock::time_point heard = now;
    while (now < end) {
      // It never sleeps: who wakes a sleeping client on the same machine pays for that.
      const int n = ::epoll_wait(epoll_.get(), events, 256, 0);
      if (n < 0 && errno != EINTR) fail("epoll_wait");
      now = Clock::now();
      if (n > 0) heard = now;
      if (now - heard > kPatience) throw std::runtime_error("no answer for 5 s");
      for (int i = 0; i < n; ++i) {
        Connection& c = connections_[events[i].data.u64];
        if (!receive(c)) continue;
        now = Clock::now();
        if (latencies)
          latencies->add(static_cast<std::uint64_t>(
              std::chrono::duration_cast<std::chrono::nanoseconds>(now - c.asked).count()));
        ++answers;
        ask(c);
      }
    }
    return answers;
  }

 private:
  void ask(Connection& c) {
    c.got = 0;
    c.asked = Clock::now();
    send_request(c.fd.get(), load_.request);
  }

  // True: the answer is complete.
  bool receive(Connection& c) {
    const ssize_t n = ::recv(c.fd.get(), buffer_, sizeof buffer_, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n < 0) fail("recv");
    if (n == 0) throw std::runtime_error("the server closed a connection");
    c.got += static_cast<std::size_t>(n);
    if (c.got > answer_) throw std::runtime_error("more than an answer came");
    return c.got == answer_;
  }

  const Load& load_;
  const std::size_t answer_;
  Fd epoll_;
  std::vector<Connection> connections_;
  char buffer_[65536];
};

}  // namespace

Answered put_load(const Load& load, const std::function<void()>& begin,
                  const std::function<void()>& end) {
  try {
    Clients clients(load);
    clients.run_until(Clock::now() + load.warm_up, nullptr);
    Histogram latencies;
    begin();
    const auto from = Clock::now();
    const std::uint64_t answers = clients.run_until(from + load.measured, &latencies);
    const std::chrono::duration<double> took = Clock::now() - from;
    end();
    const auto us = [&](double part) { return static_cast<double>(latencies.at(part)) / 1000; };
    return {.per_second = static_cast<double>(answers) / took.count(),
            .p50_us = us(0.5),
            .p99_us = us(0.99),
            .p999_us = us(0.999)};
  } catch (const std::exception& e) {
    return {.failure = e.what()};
  }
}

bool wait_for_port(std::uint16_t port, std::chrono::milliseconds limit) {
  const auto end = Clock::now() + limit;
  for (;;) {
    try {
      connect_to(port);
      return true;
    } catch (const std::runtime_error&) {
      if (Clock::now() > end) return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));  // nothing tells when it listens
  }
}

}  // namespace wire
