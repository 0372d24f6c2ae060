// Sockets.
#pragma once

#include <smarm/smarm.h>
#include <smarm/fd.hpp>
#include <smarm/stream.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace smarm {

// An IPv4 or IPv6 address and a port.
class Endpoint {
 public:
  Endpoint() = default;
  // "127.0.0.1:7777", "[::1]:7777", ":7777" and "*:7777" (every address).
  [[nodiscard]] static IoResult<Endpoint> parse(std::string_view text);
  // Of a sockaddr_in or sockaddr_in6; empty for any other.
  static Endpoint from_sockaddr(const void* address, std::uint32_t length);
  const void* sockaddr() const { return bytes_; }
  std::uint32_t length() const { return length_; }  // 0: none
  std::string host() const;                         // "127.0.0.1"
  std::uint16_t port() const;
  std::string text() const;  // as parse() takes it; "" for none
  friend bool operator==(const Endpoint& a, const Endpoint& b) { return a.text() == b.text(); }

 private:
  alignas(8) unsigned char bytes_[28]{};
  std::uint32_t length_ = 0;
};

// The addresses of a name, the best first; a numeric address is its own. Names are looked up by a
// thread that may block (block_on_io). Parks.
[[nodiscard]] IoResult<std::vector<Endpoint>> resolve(std::string_view host, std::uint16_t port);

class TcpStream : public detail::Stream {
 public:
  TcpStream() = default;
  explicit TcpStream(detail::Socket socket) : Stream(std::move(socket)) {}
  // host is a numeric address or a name, whose addresses are tried in turn; the time is for all of
  // them, without the look-up. Parks.
  [[nodiscard]] static IoResult<TcpStream> connect(std::string_view host, std::uint16_t port,
                                                   Wait timeout = {});
  [[nodiscard]] static IoResult<TcpStream> connect(const Endpoint& to, Wait timeout = {});
  // Takes a connected socket over.
  [[nodiscard]] static IoResult<TcpStream> adopt(int fd);

  Endpoint peer() const;
  Endpoint local() const;
  // The peer reads the end; reading goes on.
  [[nodiscard]] IoResult<void> shutdown_write();
  // A peer that has vanished without a word is found: asked after so long without traffic, and then
  // 9 times in another so long. Reads and writes then end with std::errc::timed_out. At least 9 s.
  [[nodiscard]] IoResult<void> keep_alive(Duration idle);
};

struct ListenOptions {
  int backlog = 4096;       // connections that wait to be accepted; the kernel's somaxconn caps it
  bool reuse_port = false;  // SO_REUSEPORT: several listeners share the port's connections
};

namespace detail {
// After an accept that found no room: how long, and until when (of the steady clock), the next one
// waits. Written by every acceptor, as atomics.
struct AcceptPause {
  std::int64_t length_ns = 0, until_ns = 0;
};
}  // namespace detail

// accept() of either listener: connections that have gone before they were accepted are passed
// over. When the process or the system is out of descriptors or memory the connection stays queued
// and the error says so; the next calls then wait before they try again, 5 ms at first, 1 s in the
// end, so that a loop around accept() neither spins nor gives up.
class TcpListener {
 public:
  TcpListener() = default;
  // "127.0.0.1", "::1", "" for every address; port 0 lets the kernel choose. SO_REUSEADDR is set.
  [[nodiscard]] static IoResult<TcpListener> bind(std::string_view host, std::uint16_t port,
                                                  ListenOptions options = {});
  // "host:port", "[v6]:port".
  [[nodiscard]] static IoResult<TcpListener> bind(std::string_view address,
                                                  ListenOptions options = {});
  // Takes a listening socket over, from socket activation for instance.
  [[nodiscard]] static IoResult<TcpListener> adopt(int fd);
  [[nodiscard]] IoResult<TcpStream> accept(Wait timeout = {});
  std::uint16_t port() const;   // the bound port, 0 when it has none
  std::string address() const;  // "127.0.0.1:7777"
  void close() { socket_.close(); }
  int fd() const { return socket_.fd(); }

 private:
  explicit TcpListener(detail::Socket socket) : socket_(std::move(socket)) {}
  detail::Socket socket_;
  detail::AcceptPause pause_{};
};

class UnixStream : public detail::Stream {
 public:
  UnixStream() = default;
  explicit UnixStream(detail::Socket socket) : Stream(std::move(socket)) {}
  [[nodiscard]] static IoResult<UnixStream> connect(std::string_view path, Wait timeout = {});
  [[nodiscard]] static IoResult<UnixStream> adopt(int fd);
  // The peer reads the end; reading goes on.
  [[nodiscard]] IoResult<void> shutdown_write();
};

class UnixListener {
 public:
  UnixListener() = default;
  [[nodiscard]] static IoResult<UnixListener> bind(
      std::string_view path, ListenOptions options = {});  // a stale socket file is replaced
  [[nodiscard]] static IoResult<UnixListener> adopt(int fd);
  [[nodiscard]] IoResult<UnixStream> accept(Wait timeout = {});
  void close() { socket_.close(); }
  int fd() const { return socket_.fd(); }

 private:
  explicit UnixListener(detail::Socket socket) : socket_(std::move(socket)) {}
  detail::Socket socket_;
  detail::AcceptPause pause_{};
};

struct Datagram {
  std::size_t size = 0;
  Endpoint from{};
  bool truncated = false;  // the buffer was too small: the rest is lost
};

class UdpSocket {
 public:
  UdpSocket() = default;
  // As TcpListener::bind. reuse_port: datagrams are shared out by their sender.
  [[nodiscard]] static IoResult<UdpSocket> bind(std::string_view host, std::uint16_t port,
                                                bool reuse_port = false);
  [[nodiscard]] static IoResult<UdpSocket> bind(const Endpoint& address, bool reuse_port = false);
  // With one peer: send() needs no address, and what others send is not received.
  [[nodiscard]] static IoResult<UdpSocket> connect(const Endpoint& peer);
  [[nodiscard]] static IoResult<UdpSocket> adopt(int fd);

  // One datagram. A connected one tells here, too, that its peer refused what was sent
  // (std::errc::connection_refused).
  [[nodiscard]] IoResult<Datagram> receive(std::span<char> buffer, Wait timeout = {});
  // One datagram, whole or not at all.
  [[nodiscard]] IoResult<void> send(std::span<const char> bytes, const Endpoint& to,
                                    Wait timeout = {});
  [[nodiscard]] IoResult<void> send(std::span<const char> bytes, Wait timeout = {});

  Endpoint local() const;
  std::uint16_t port() const { return local().port(); }
  void close() { socket_.close(); }
  int fd() const { return socket_.fd(); }

 private:
  explicit UdpSocket(detail::Socket socket) : socket_(std::move(socket)) {}
  detail::Socket socket_;
};

}  // namespace smarm
