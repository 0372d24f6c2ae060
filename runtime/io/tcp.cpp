// TCP streams and listeners.

#include "runtime/io/address.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>

namespace smarm {

SMARM_PUBLIC IoResult<TcpStream> TcpStream::connect(const Endpoint& to, Wait timeout) {
  auto socket = connect_to(to_address(to), timeout, to.text());
  if (!socket) return std::unexpected(std::move(socket.error()));
  return TcpStream(std::move(*socket));
}

SMARM_PUBLIC IoResult<TcpStream> TcpStream::connect(std::string_view host, std::uint16_t port,
                                                    Wait timeout) {
  using Clock = std::chrono::steady_clock;
  auto addresses = resolve(host, port);
  if (!addresses) return std::unexpected(std::move(addresses.error()));
  const auto began = Clock::now();
  std::unexpected<IoError> last = failure(EADDRNOTAVAIL, "connect", text_of(host, port));
  for (const Endpoint& address : *addresses) {
    Wait left = timeout;
    if (left) left = std::max<Duration>(*left - (Clock::now() - began), Duration(0));
    auto stream = connect(address, left);
    if (stream) return stream;
    last = std::unexpected(std::move(stream.error()));
  }
  return last;
}

SMARM_PUBLIC IoResult<TcpStream> TcpStream::adopt(int fd) {
  auto socket = adopt_fd(fd);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return TcpStream(std::move(*socket));
}

SMARM_PUBLIC Endpoint TcpStream::peer() const { return to_endpoint(peer_address(fd())); }
SMARM_PUBLIC Endpoint TcpStream::local() const { return to_endpoint(local_address(fd())); }

SMARM_PUBLIC IoResult<void> TcpStream::shutdown_write() {
  if (const long e = raw_syscall(SYS_shutdown, fd(), SHUT_WR); e < 0)
    return failure(-e, "shutdown", peer().text());
  return {};
}

SMARM_PUBLIC IoResult<void> TcpStream::keep_alive(Duration idle) {
  constexpr int kProbes = 9;
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(idle).count();
  const int before = static_cast<int>(std::clamp<std::int64_t>(seconds, kProbes, 32'767));
  const int between = std::max(before / kProbes, 1);
  const struct {
    int level, name, value;
  } options[] = {{IPPROTO_TCP, TCP_KEEPIDLE, before},
                 {IPPROTO_TCP, TCP_KEEPINTVL, between},
                 {IPPROTO_TCP, TCP_KEEPCNT, kProbes},
                 {SOL_SOCKET, SO_KEEPALIVE, 1}};
  for (const auto& o : options) {
    if (const long e = raw_syscall(SYS_setsockopt, fd(), o.level, o.name, &o.value, sizeof o.value);
        e < 0)
      return failure(-e, "keep_alive", peer().text());
  }
  return {};
}

SMARM_PUBLIC IoResult<TcpListener> TcpListener::bind(std::string_view host, std::uint16_t port,
                                                     ListenOptions options) {
  auto addresses = resolve_passive(host, port);
  if (!addresses) return std::unexpected(std::move(addresses.error()));
  std::unexpected<IoError> last = failure(EADDRNOTAVAIL, "bind", text_of(host, port));
  for (const Endpoint& address : *addresses) {
    auto socket = listen_on(to_address(address), options, address.text());
    if (socket) return TcpListener(std::move(*socket));
    last = std::unexpected(std::move(socket.error()));
  }
  return last;
}

SMARM_PUBLIC IoResult<TcpListener> TcpListener::bind(std::string_view address,
                                                     ListenOptions options) {
  auto both = split_address(address, "bind");
  if (!both) return std::unexpected(std::move(both.error()));
  return bind(both->host, both->port, options);
}

SMARM_PUBLIC IoResult<TcpListener> TcpListener::adopt(int fd) {
  auto socket = adopt_fd(fd);
  if (!socket) return std::unexpected(std::move(socket.error()));
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  return TcpListener(std::move(*socket));
}

SMARM_PUBLIC IoResult<TcpStream> TcpListener::accept(Wait timeout) {
  auto socket = accept_from(socket_, timeout, pause_);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return TcpStream(std::move(*socket));
}

SMARM_PUBLIC std::string TcpListener::address() const { return text_of(local_address(fd())); }

SMARM_PUBLIC std::uint16_t TcpListener::port() const {
  return to_endpoint(local_address(fd())).port();
}

}  // namespace smarm
