// A client of the echo plugin, to see that a neighbour of what misbehaves goes on.
#pragma once

#include "tests/integration/daemon_process.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace integration {

// A connection to the echo plugin that stays open.
class EchoClient {
 public:
  // Waits until it listens: a plugin that has started may not have run yet.
  EchoClient(DaemonProcess& daemon, std::uint16_t port)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    daemon.wait_log("plugin.log", {{"plugin", "echo"},
                                   {"message", "listening on 127.0.0.1:" + std::to_string(port)}});
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
    const timeval patience{std::chrono::duration_cast<std::chrono::seconds>(kPatience).count(), 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~EchoClient() { ::close(fd_); }
  EchoClient(const EchoClient&) = delete;
  EchoClient& operator=(const EchoClient&) = delete;

  bool answers() {
    char back[5] = {};
    return ::send(fd_, "hello", 5, MSG_NOSIGNAL) == 5 && ::recv(fd_, back, 5, MSG_WAITALL) == 5 &&
           std::memcmp(back, "hello", 5) == 0;
  }

 private:
  int fd_;
};

inline std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&at), size) == 0);
  REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) == 0);
  ::close(fd);
  return ntohs(at.sin_port);
}

// Before the daemon starts: the plugin, and where it listens.
inline std::uint16_t install_echo(DaemonProcess& d) {
  const std::uint16_t port = free_port();
  d.config["plugins"]["overrides"]["echo"]["config"] = {
      {"listen", "127.0.0.1:" + std::to_string(port)}};
  const std::string echo = read_file(SMARM_BUILD_DIR "/plugins/echo/echo.so");
  REQUIRE_FALSE(echo.empty());
  d.install_bytes(echo, "echo.so");
  return port;
}

}  // namespace integration
