// UDP.

#include "runtime/io/address.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>

namespace smarm {

SMARM_PUBLIC IoResult<UdpSocket> UdpSocket::bind(const Endpoint& address, bool reuse_port) {
  auto fd = bind_socket(to_address(address), SOCK_DGRAM, reuse_port, address.text());
  if (!fd) return std::unexpected(std::move(fd.error()));
  auto socket = make_socket(*fd, "bind", address.text());
  if (!socket) return std::unexpected(std::move(socket.error()));
  return UdpSocket(std::move(*socket));
}

SMARM_PUBLIC IoResult<UdpSocket> UdpSocket::bind(std::string_view host, std::uint16_t port,
                                                 bool reuse_port) {
  auto addresses = resolve_passive(host, port);
  if (!addresses) return std::unexpected(std::move(addresses.error()));
  std::unexpected<IoError> last = failure(EADDRNOTAVAIL, "bind", text_of(host, port));
  for (const Endpoint& address : *addresses) {
    auto socket = bind(address, reuse_port);
    if (socket) return socket;
    last = std::unexpected(std::move(socket.error()));
  }
  return last;
}

SMARM_PUBLIC IoResult<UdpSocket> UdpSocket::connect(const Endpoint& peer) {
  const Address a = to_address(peer);
  auto fd = open_socket(a.family(), SOCK_DGRAM, peer.text());
  if (!fd) return std::unexpected(std::move(fd.error()));
  if (const long e = raw_syscall(SYS_connect, fd->get(), a.get(), a.length); e < 0)
    return failure(-e, "connect", peer.text());
  auto socket = make_socket(*fd, "connect", peer.text());
  if (!socket) return std::unexpected(std::move(socket.error()));
  return UdpSocket(std::move(*socket));
}

SMARM_PUBLIC IoResult<UdpSocket> UdpSocket::adopt(int fd) {
  auto socket = adopt_fd(fd);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return UdpSocket(std::move(*socket));
}

SMARM_PUBLIC IoResult<Datagram> UdpSocket::receive(std::span<char> buffer, Wait timeout) {
  Address from;
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_name = &from.storage;
  message.msg_namelen = sizeof from.storage;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  std::size_t done = 0;
  if (int status = smarm_socket_receive(socket_.get(), &message, detail::opt_ns(timeout), &done))
    return failed_status(status, "receive", text_of(local_address(fd())));
  from.length = message.msg_namelen;
  return Datagram{done, to_endpoint(from), (message.msg_flags & MSG_TRUNC) != 0};
}

SMARM_PUBLIC IoResult<void> UdpSocket::send(std::span<const char> bytes, const Endpoint& to,
                                            Wait timeout) {
  Address a = to_address(to);
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_name = a.length ? &a.storage : nullptr;
  message.msg_namelen = a.length;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  std::size_t done = 0;
  if (int status = smarm_socket_send(socket_.get(), &message, detail::opt_ns(timeout), &done))
    return failed_status(status, "send", a.length ? to.text() : text_of(peer_address(fd())));
  return {};
}

SMARM_PUBLIC IoResult<void> UdpSocket::send(std::span<const char> bytes, Wait timeout) {
  return send(bytes, Endpoint(), timeout);
}

SMARM_PUBLIC Endpoint UdpSocket::local() const { return to_endpoint(local_address(fd())); }

}  // namespace smarm
