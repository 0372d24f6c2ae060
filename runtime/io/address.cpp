// Endpoints, names, and the making of sockets.

#include "runtime/io/address.hpp"

#include "runtime/io/socket.hpp"

#include <smarm/actor.hpp>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <vector>

namespace smarm {

// ---- endpoints ----

Endpoint Endpoint::from_sockaddr(const void* address, std::uint32_t length) {
  Endpoint e;
  sa_family_t family = AF_UNSPEC;
  if (length >= sizeof family) std::memcpy(&family, address, sizeof family);
  const std::uint32_t size = family == AF_INET    ? sizeof(sockaddr_in)
                             : family == AF_INET6 ? sizeof(sockaddr_in6)
                                                  : 0;
  static_assert(sizeof e.bytes_ == sizeof(sockaddr_in6));
  if (size == 0 || length < size) return e;
  std::memcpy(e.bytes_, address, size);
  e.length_ = size;
  return e;
}

Address to_address(const Endpoint& endpoint) {
  Address a;
  std::memcpy(&a.storage, endpoint.sockaddr(), endpoint.length());
  a.length = endpoint.length();
  return a;
}

SMARM_PUBLIC std::string Endpoint::host() const {
  const Address a = to_address(*this);
  char text[INET6_ADDRSTRLEN] = "";
  if (a.family() == AF_INET)
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(a.storage).sin_addr, text,
                sizeof text);
  if (a.family() == AF_INET6)
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(a.storage).sin6_addr, text,
                sizeof text);
  return text;
}

SMARM_PUBLIC std::uint16_t Endpoint::port() const {
  const Address a = to_address(*this);
  if (a.family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(a.storage).sin_port);
  if (a.family() == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6&>(a.storage).sin6_port);
  return 0;
}

SMARM_PUBLIC std::string Endpoint::text() const {
  return length_ ? text_of(host(), port()) : std::string();
}

std::string text_of(std::string_view host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string_view::npos;
  return (v6 ? "[" + std::string(host) + "]" : std::string(host.empty() ? "*" : host)) + ":" +
         std::to_string(port);
}

std::string text_of(const Address& a) {
  if (a.family() != AF_UNIX) return to_endpoint(a).text();
  const auto& un = reinterpret_cast<const sockaddr_un&>(a.storage);
  const std::size_t most =
      a.length - std::min<std::size_t>(a.length, offsetof(sockaddr_un, sun_path));
  return {un.sun_path, ::strnlen(un.sun_path, most)};
}

Address local_address(int fd) {
  Address a;
  a.length = sizeof a.storage;
  if (raw_syscall(SYS_getsockname, fd, &a.storage, &a.length) < 0) return {};
  return a;
}

Address peer_address(int fd) {
  Address a;
  a.length = sizeof a.storage;
  if (raw_syscall(SYS_getpeername, fd, &a.storage, &a.length) < 0) return {};
  return a;
}

IoResult<HostPort> split_address(std::string_view text, const char* operation) {
  const std::size_t colon = text.rfind(':');
  const std::size_t end = colon == std::string_view::npos ? 0 : colon;
  std::string_view host = text.substr(0, end);
  const std::string_view port = text.substr(end == 0 && colon != 0 ? 0 : colon + 1);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  HostPort both{std::string(host == "*" ? "" : host)};
  const auto [stop, error] = std::from_chars(port.data(), port.data() + port.size(), both.port);
  if (colon == std::string_view::npos || error != std::errc() ||
      stop != port.data() + port.size() || (!bracketed && host.contains(':')))
    return failure(std::make_error_code(std::errc::invalid_argument),
                   std::string(operation) + " (expected host:port)", std::string(text));
  return both;
}

IoResult<Address> unix_address(std::string_view path, const char* operation) {
  Address a;
  auto& un = reinterpret_cast<sockaddr_un&>(a.storage);
  if (path.size() >= sizeof un.sun_path) return failure(ENAMETOOLONG, operation, std::string(path));
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, path.data(), path.size());
  a.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return a;
}

// ---- names ----

namespace {

class AddressError : public std::error_category {
 public:
  const char* name() const noexcept override { return "getaddrinfo"; }
  std::string message(int code) const override { return ::gai_strerror(code); }
};
const AddressError address_error;

struct LookUp {
  std::string host, service;
  int flags;
  std::vector<Endpoint> found{};
  int code = 0;
  int system_error = 0;

  // Alone, since it reads errno: base/syscall.hpp.
  [[gnu::noinline, gnu::noipa]] void run(int more_flags) {
    addrinfo hints{}, *list = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | more_flags | AI_NUMERICSERV;
    code = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), service.c_str(), &hints, &list);
    if (code == EAI_SYSTEM) system_error = errno;
    for (addrinfo* a = list; code == 0 && a; a = a->ai_next)
      found.push_back(Endpoint::from_sockaddr(a->ai_addr, a->ai_addrlen));
    if (list) ::freeaddrinfo(list);
  }
};

// Numeric addresses at once; names by a thread that may block.
IoResult<std::vector<Endpoint>> look_up(std::string_view host, std::uint16_t port, int flags) {
  LookUp look_up{std::string(host), std::to_string(port), flags};
  look_up.run(AI_NUMERICHOST);
  if (look_up.code != 0) block_on_io([&] { look_up.run(0); });
  if (look_up.code == EAI_SYSTEM) return failure(look_up.system_error, "resolve", look_up.host);
  if (look_up.code != 0)
    return failure(std::error_code(look_up.code, address_error), "resolve", look_up.host);
  return std::move(look_up.found);
}

}  // namespace

SMARM_PUBLIC IoResult<std::vector<Endpoint>> resolve(std::string_view host, std::uint16_t port) {
  return look_up(host, port, 0);
}
IoResult<std::vector<Endpoint>> resolve_passive(std::string_view host, std::uint16_t port) {
  return look_up(host, port, AI_PASSIVE);
}

SMARM_PUBLIC IoResult<Endpoint> Endpoint::parse(std::string_view text) {
  auto both = split_address(text, "parse");
  if (!both) return std::unexpected(std::move(both.error()));
  LookUp numeric{both->host, std::to_string(both->port), AI_PASSIVE};
  numeric.run(AI_NUMERICHOST);
  if (numeric.code != 0 || numeric.found.empty())
    return failure(std::make_error_code(std::errc::invalid_argument),
                   "parse (expected a numeric address)", std::string(text));
  return numeric.found.front();
}

// ---- sockets ----

IoResult<OwnedFd> open_socket(int family, int type, const std::string& text) {
  const long fd = raw_syscall(SYS_socket, family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return failure(-fd, "socket", text);
  return OwnedFd(fd);
}

IoResult<detail::Socket> make_socket(OwnedFd& fd, const char* operation,
                                     const std::string& address) {
  int error = 0;
  smarm_socket* raw = smarm_socket_adopt(fd.get(), &error);
  if (!raw) {
    if (error < 0) detail::throw_status(error, operation);
    return failure(error, operation, address);
  }
  fd.release();
  return detail::Socket(raw);
}

IoResult<detail::Socket> adopt_fd(int fd) {
  int error = 0;
  smarm_socket* raw = smarm_socket_adopt(fd, &error);
  if (raw) return detail::Socket(raw);
  if (error < 0) detail::throw_status(error, "adopt");
  return failure(error, "adopt", "fd " + std::to_string(fd));
}

IoResult<OwnedFd> bind_socket(const Address& a, int type, bool reuse_port,
                              const std::string& text) {
  auto fd = open_socket(a.family(), type, text);
  if (!fd) return fd;
  if (a.family() != AF_UNIX && type == SOCK_STREAM)
    set_option(fd->get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (reuse_port) set_option(fd->get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (const long e = raw_syscall(SYS_bind, fd->get(), a.get(), a.length); e < 0)
    return failure(-e, "bind", text);
  return fd;
}

IoResult<detail::Socket> listen_on(const Address& a, ListenOptions options,
                                   const std::string& text) {
  auto fd = bind_socket(a, SOCK_STREAM, options.reuse_port, text);
  if (!fd) return std::unexpected(std::move(fd.error()));
  // Nagle's delay is for programs that write byte by byte; ours answer in whole messages. Those
  // that are accepted inherit it.
  if (a.family() != AF_UNIX) set_option(fd->get(), IPPROTO_TCP, TCP_NODELAY, 1);
  if (const long e = raw_syscall(SYS_listen, fd->get(), options.backlog); e < 0)
    return failure(-e, "listen", text);
  return make_socket(*fd, "listen", text);
}

IoResult<detail::Socket> connect_to(const Address& a, Wait timeout, const std::string& text) {
  auto fd = open_socket(a.family(), SOCK_STREAM, text);
  if (!fd) return std::unexpected(std::move(fd.error()));
  if (a.family() != AF_UNIX) set_option(fd->get(), IPPROTO_TCP, TCP_NODELAY, 1);
  auto socket = make_socket(*fd, "connect", text);
  if (!socket) return socket;
  if (int status = smarm_socket_connect(socket->get(), a.get(), a.length, detail::opt_ns(timeout)))
    return failed_status(status, "connect", text);
  return socket;
}

namespace {

constexpr std::int64_t kFirstPause = 5'000'000, kLongestPause = 1'000'000'000;  // ns

bool no_room(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

IoResult<detail::Socket> accept_from(const detail::Socket& listener, Wait timeout,
                                     detail::AcceptPause& pause) {
  smarm_socket* const s = listener.get();
  if (!s) return failure(EBADF, "accept", "closed listener");
  const InUse in_use(*s);  // it may be closed in the pause
  const auto name = [s] { return text_of(local_address(s->fd)); };
  const std::atomic_ref length(pause.length_ns), until(pause.until_ns);
  const std::int64_t end = until.load(std::memory_order_relaxed);
  const std::int64_t rest = end != 0 ? end - now_ns() : 0;
  if (rest > 0) {
    const bool too_long = timeout && detail::to_ns(*timeout) <= rest;
    sleep(too_long ? *timeout : std::chrono::nanoseconds(rest));
    if (too_long) return failed_status(SMARM_E_TIMEOUT, "accept", name());
    if (timeout) *timeout -= std::chrono::nanoseconds(rest);
  }
  int fd = -1;
  const int status = smarm_socket_accept(s, detail::opt_ns(timeout), &fd);
  OwnedFd owned(fd);
  auto socket = status ? IoResult<detail::Socket>(failed_status(status, "accept", name()))
                       : make_socket(owned, "accept", "");
  if (!socket && no_room(socket.error().code.value())) {
    const std::int64_t next =
        std::clamp(2 * length.load(std::memory_order_relaxed), kFirstPause, kLongestPause);
    length.store(next, std::memory_order_relaxed);
    until.store(now_ns() + next, std::memory_order_relaxed);
  } else if (end != 0) {
    length.store(0, std::memory_order_relaxed);
    until.store(0, std::memory_order_relaxed);
  }
  return socket;
}

}  // namespace smarm
