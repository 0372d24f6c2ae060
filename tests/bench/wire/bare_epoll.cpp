// What a request costs without a runtime: one loop, a receive and a send for each request.

#include "tests/bench/wire/server.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

namespace wire {
namespace {

// A slot of memory for each connection, by its descriptor, of which one page is used.
class Slots {
 public:
  Slots() {
    void* area = ::mmap(nullptr, kSlots * kSize, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) die("mmap");
    ::madvise(area, kSlots * kSize, MADV_NOHUGEPAGE);
    area_ = static_cast<char*>(area);
  }
  // Behind as many lines that were written to as an actor has under its buffer when it waits.
  char* buffer(int fd) const {
    char* const at = place(fd);
    for (std::size_t i = 1; i <= kLines; ++i) {
      volatile char& c = *(at - i * kLine);
      c = static_cast<char>(c + 1);
    }
    return at;
  }
  // For the one that goes next.
  void fetch(int fd) const {
    for (std::size_t i = 0; i <= kLines; ++i) __builtin_prefetch(place(fd) - i * kLine);
  }

 private:
  // In one of eight colours.
  char* place(int fd) const {
    const auto slot = static_cast<std::size_t>(fd) % kSlots;
    return area_ + slot * kSize + kSize - 4096 + (kLines + slot % 8) * kLine;
  }

  static constexpr std::size_t kSlots = 1 << 15, kSize = 1 << 16, kLine = 64, kLines = 10;
  char* area_;
};

constexpr std::size_t kBuffer = 2048;

void add(int epoll, int fd) {
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.fd = fd;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) != 0) die("epoll_ctl");
}

void accept_all(int epoll, int listener) {
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    add(epoll, fd);
  }
}

void serve(int fd, Answer answer, char* buffer) {
  const ssize_t n = ::recv(fd, buffer, kBuffer, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    ::close(fd);
    return;
  }
  const auto bytes = answer({buffer, static_cast<std::size_t>(n)});
  if (::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
    ::close(fd);
}

template <class Fetch, class Buffer>
[[noreturn]] void serve_all(std::uint16_t port, Answer answer, Fetch fetch, Buffer buffer) {
  const int listener = listen_on(port);
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  add(epoll, listener);
  epoll_event events[256];
  for (;;) {
    const int n = ::epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (i + 1 < n) fetch(events[i + 1].data.fd);
      if (fd == listener) {
        accept_all(epoll, listener);
      } else {
        serve(fd, answer, buffer(fd));
      }
    }
  }
}

}  // namespace

void serve_by_epoll(std::uint16_t port, Answer answer) {
  char buffer[kBuffer];
  serve_all(port, answer, [](int) {}, [&](int) { return buffer; });
}

void serve_by_epoll_with_stacks(std::uint16_t port, Answer answer) {
  std::thread([] { ::pause(); }).detach();
  const Slots slots;
  serve_all(
      port, answer, [&](int fd) { slots.fetch(fd); }, [&](int fd) { return slots.buffer(fd); });
}

}  // namespace wire
