#include "tests/bench/wire/server.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>

namespace wire {

void die(const char* what) {
  std::fprintf(stderr, "wire_server: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

int listen_on(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) die("socket");
  const int one = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) die("bind");
  if (::listen(fd, SOMAXCONN) != 0) die("listen");
  return fd;
}

std::span<const char> echo_answer(std::span<const char> request) { return request; }

std::span<const char> http_answer(std::span<const char> request) {
  static constexpr std::string_view kHello =
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n";
  const std::string_view text(request.data(), request.size());
  if (!text.ends_with("\r\n\r\n")) return {};
  return kHello;
}

}  // namespace wire

int main(int argc, char** argv) {
  using namespace wire;
  const std::map<std::string, void (*)(std::uint16_t)> kinds = {
      {"epoll", [](std::uint16_t port) { serve_by_epoll(port, echo_answer); }},
      {"epoll_stacks", [](std::uint16_t port) { serve_by_epoll_with_stacks(port, echo_answer); }},
      {"uring", [](std::uint16_t port) { serve_by_uring(port, echo_answer); }},
      {"uring_multishot", [](std::uint16_t port) { serve_by_uring(port, echo_answer, true); }},
      {"epoll_http", [](std::uint16_t port) { serve_by_epoll(port, http_answer); }},
      {"uring_http", [](std::uint16_t port) { serve_by_uring(port, http_answer); }},
      {"actors", [](std::uint16_t port) { serve_by_actors(port, {}); }},
      {"actors_uring", [](std::uint16_t port) { serve_by_actors(port, {.ring = true}); }},
      {"two_workers", [](std::uint16_t port) { serve_by_actors(port, {.workers = 2}); }},
      {"two_workers_uring",
       [](std::uint16_t port) { serve_by_actors(port, {.ring = true, .workers = 2}); }},
      {"hibernating", [](std::uint16_t port) { serve_by_actors(port, {.hibernates = true}); }},
      {"beside_allocating",
       [](std::uint16_t port) { serve_by_actors(port, {Neighbour::allocating}); }},
      {"beside_spinning", [](std::uint16_t port) { serve_by_actors(port, {Neighbour::spinning}); }},
  };
  const auto kind = argc == 3 ? kinds.find(argv[1]) : kinds.end();
  if (kind == kinds.end()) {
    std::fputs("usage: wire_server KIND PORT; KIND is one of:", stderr);
    for (const auto& [name, serve] : kinds) std::fprintf(stderr, " %s", name.c_str());
    std::fputs("\n", stderr);
    return 2;
  }
  kind->second(static_cast<std::uint16_t>(std::atoi(argv[2])));
  return 0;
}
