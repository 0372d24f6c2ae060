// The RAII streams and listeners of <smarm/io.hpp>, over the socket core.

#include <smarm/io.hpp>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <vector>

#define SMARM_PUBLIC __attribute__((visibility("default")))

namespace smarm {

namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

std::unexpected<IoError> failure(std::error_code code, std::string operation, std::string address) {
  return std::unexpected(IoError{code, std::move(operation), std::move(address)});
}
std::unexpected<IoError> failure(int error, std::string operation, std::string address) {
  return failure(std::error_code(error, std::system_category()), std::move(operation),
                 std::move(address));
}
std::unexpected<IoError> failed_status(int status, std::string operation, std::string address) {
  return failure(detail::io_code(status), std::move(operation), std::move(address));
}

std::string text_of(std::string_view host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string_view::npos;
  return (v6 ? "[" + std::string(host) + "]" : std::string(host.empty() ? "*" : host)) + ":" +
         std::to_string(port);
}

std::string text_of(const sockaddr_storage& a) {
  char host[INET6_ADDRSTRLEN] = "";
  if (a.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(a);
    ::inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    return text_of(host, ntohs(v4.sin_port));
  }
  if (a.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(a);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
    return text_of(host, ntohs(v6.sin6_port));
  }
  if (a.ss_family == AF_UNIX) return reinterpret_cast<const sockaddr_un&>(a).sun_path;
  return "";
}

std::string local_address(int fd) {
  sockaddr_storage a{};
  socklen_t n = sizeof a;
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &n) == 0 ? text_of(a) : "";
}

std::string peer_address(int fd) {
  sockaddr_storage a{};
  socklen_t n = sizeof a;
  return ::getpeername(fd, reinterpret_cast<sockaddr*>(&a), &n) == 0 ? text_of(a) : "";
}

class AddressError : public std::error_category {
 public:
  const char* name() const noexcept override { return "getaddrinfo"; }
  std::string message(int code) const override { return ::gai_strerror(code); }
};
const AddressError address_error;

// Functions that read errno stand alone: an actor may come back from a wait on another thread, and
// compilers keep errno's address across a call.
#define SMARM_READS_ERRNO [[gnu::noinline, gnu::noipa]]

struct LookUp {
  std::string host, service;
  bool passive;
  std::vector<Address> found{};
  int code = 0;
  int system_error = 0;

  SMARM_READS_ERRNO void run(int flags) {
    addrinfo hints{}, *list = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV | (passive ? AI_PASSIVE : 0);
    code = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), service.c_str(), &hints, &list);
    if (code == EAI_SYSTEM) system_error = errno;
    for (addrinfo* a = list; code == 0 && a; a = a->ai_next) {
      Address address;
      std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
      address.length = a->ai_addrlen;
      found.push_back(address);
    }
    if (list) ::freeaddrinfo(list);
  }
};

// Numeric addresses at once; names by a thread that may block.
IoResult<std::vector<Address>> resolve(std::string_view host, std::uint16_t port, bool passive) {
  LookUp look_up{std::string(host), std::to_string(port), passive};
  look_up.run(AI_NUMERICHOST);
  if (look_up.code != 0) block_on_io([&] { look_up.run(0); });
  if (look_up.code == EAI_SYSTEM) return failure(look_up.system_error, "resolve", look_up.host);
  if (look_up.code != 0)
    return failure(std::error_code(look_up.code, address_error), "resolve", look_up.host);
  return std::move(look_up.found);
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

// A file descriptor until it is given away.
struct Fd {
  int fd;
  explicit Fd(int f) : fd(f) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd >= 0) ::close(fd);
  }
  int release() { return std::exchange(fd, -1); }
};

IoResult<detail::Socket> make_socket(Fd& fd, const char* operation, const std::string& address) {
  int error = 0;
  smarm_socket* raw = smarm_socket_adopt(fd.fd, &error);
  if (!raw) {
    if (error < 0) detail::throw_status(error, operation);
    return failure(error, operation, address);
  }
  fd.release();
  return detail::Socket(raw);
}

// Nagle's delay is for programs that write byte by byte; ours answer in whole messages.
void set_no_delay(int fd) {
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

SMARM_READS_ERRNO IoResult<detail::Socket> listen_on(const Address& a, const std::string& text) {
  Fd fd(::socket(a.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.fd < 0) return failure(errno, "socket", text);
  const int one = 1;
  if (a.get()->sa_family != AF_UNIX)
    ::setsockopt(fd.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (a.get()->sa_family != AF_UNIX) set_no_delay(fd.fd);  // those that it accepts inherit it
  if (::bind(fd.fd, a.get(), a.length) < 0) return failure(errno, "bind", text);
  if (::listen(fd.fd, SOMAXCONN) < 0) return failure(errno, "listen", text);
  return make_socket(fd, "listen", text);
}

SMARM_READS_ERRNO IoResult<detail::Socket> connect_to(const Address& a, Wait timeout,
                                                      const std::string& text) {
  Fd fd(::socket(a.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.fd < 0) return failure(errno, "socket", text);
  auto socket = make_socket(fd, "connect", text);
  if (!socket) return socket;
  if (int status = smarm_socket_connect(socket->get(), a.get(), a.length, detail::opt_ns(timeout)))
    return failed_status(status, "connect", text);
  return socket;
}

IoResult<detail::Socket> adopt_fd(int fd) {
  Fd owned(fd);
  auto socket = make_socket(owned, "adopt", "fd " + std::to_string(fd));
  if (!socket) owned.release();  // it stays the caller's
  return socket;
}

IoResult<detail::Socket> accept_from(const detail::Socket& listener, Wait timeout) {
  int fd = -1;
  if (!listener.get()) return failure(EBADF, "accept", "closed listener");
  if (int status = smarm_socket_accept(listener.get(), detail::opt_ns(timeout), &fd))
    return failed_status(status, "accept", local_address(listener.fd()));
  Fd owned(fd);
  return make_socket(owned, "accept", "");
}

bool somebody_listens(const Address& a) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return fd.fd >= 0 && (::connect(fd.fd, a.get(), a.length) == 0 || errno == EAGAIN);
}

}  // namespace

// ---- streams ----

SMARM_PUBLIC IoError detail::Stream::failed(int status, const char* operation) const {
  return {io_code(status), operation, socket_.get() ? peer_address(fd()) : "closed stream"};
}

SMARM_PUBLIC IoResult<void> detail::Stream::read_exact(std::span<char> buffer, Wait timeout) {
  while (!buffer.empty()) {
    auto n = read(buffer, timeout);
    if (!n) return std::unexpected(std::move(n.error()));
    if (*n == 0)
      return failure(std::make_error_code(std::errc::no_message_available), "read_exact",
                     peer_address(fd()));
    buffer = buffer.subspan(*n);
  }
  return {};
}

// ---- TCP ----

SMARM_PUBLIC IoResult<TcpStream> TcpStream::connect(std::string_view host, std::uint16_t port,
                                                    Wait timeout) {
  auto addresses = resolve(host, port, false);
  if (!addresses) return std::unexpected(std::move(addresses.error()));
  std::unexpected<IoError> last = failure(EADDRNOTAVAIL, "connect", text_of(host, port));
  for (const Address& a : *addresses) {
    auto socket = connect_to(a, timeout, text_of(a.storage));
    if (socket) {
      set_no_delay(socket->fd());
      return TcpStream(std::move(*socket));
    }
    last = std::unexpected(std::move(socket.error()));
  }
  return last;
}

SMARM_PUBLIC IoResult<TcpStream> TcpStream::adopt(int fd) {
  auto socket = adopt_fd(fd);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return TcpStream(std::move(*socket));
}

SMARM_PUBLIC IoResult<TcpListener> TcpListener::bind(std::string_view host, std::uint16_t port) {
  auto addresses = resolve(host, port, true);
  if (!addresses) return std::unexpected(std::move(addresses.error()));
  std::unexpected<IoError> last = failure(EADDRNOTAVAIL, "bind", text_of(host, port));
  for (const Address& a : *addresses) {
    auto socket = listen_on(a, text_of(a.storage));
    if (socket) return TcpListener(std::move(*socket));
    last = std::unexpected(std::move(socket.error()));
  }
  return last;
}

SMARM_PUBLIC IoResult<TcpListener> TcpListener::bind(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  std::string_view host = address.substr(0, colon == std::string_view::npos ? 0 : colon);
  const std::string_view port_text =
      address.substr(colon == std::string_view::npos ? 0 : colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc() || end != port_text.data() + port_text.size())
    return failure(std::make_error_code(std::errc::invalid_argument), "bind (expected host:port)",
                   std::string(address));
  return bind(host == "*" ? "" : host, port);
}

SMARM_PUBLIC IoResult<TcpListener> TcpListener::adopt(int fd) {
  auto socket = adopt_fd(fd);
  if (!socket) return std::unexpected(std::move(socket.error()));
  set_no_delay(fd);
  return TcpListener(std::move(*socket));
}

SMARM_PUBLIC IoResult<TcpStream> TcpListener::accept(Wait timeout) {
  auto socket = accept_from(socket_, timeout);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return TcpStream(std::move(*socket));
}

SMARM_PUBLIC std::string TcpListener::address() const { return local_address(fd()); }

SMARM_PUBLIC std::uint16_t TcpListener::port() const {
  sockaddr_storage a{};
  socklen_t n = sizeof a;
  if (::getsockname(fd(), reinterpret_cast<sockaddr*>(&a), &n) != 0) return 0;
  if (a.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(a).sin_port);
  if (a.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(a).sin6_port);
  return 0;
}

// ---- Unix ----

SMARM_PUBLIC IoResult<UnixStream> UnixStream::connect(std::string_view path, Wait timeout) {
  auto address = unix_address(path, "connect");
  if (!address) return std::unexpected(std::move(address.error()));
  auto socket = connect_to(*address, timeout, std::string(path));
  if (!socket) return std::unexpected(std::move(socket.error()));
  return UnixStream(std::move(*socket));
}

SMARM_PUBLIC IoResult<UnixStream> UnixStream::adopt(int fd) {
  auto socket = adopt_fd(fd);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return UnixStream(std::move(*socket));
}

SMARM_PUBLIC IoResult<UnixListener> UnixListener::bind(std::string_view path) {
  auto address = unix_address(path, "bind");
  if (!address) return std::unexpected(std::move(address.error()));
  auto socket = listen_on(*address, std::string(path));
  struct stat st{};
  const std::string name(path);
  if (!socket && socket.error().code == std::errc::address_in_use &&
      ::stat(name.c_str(), &st) == 0 && S_ISSOCK(st.st_mode) && !somebody_listens(*address)) {
    ::unlink(name.c_str());
    socket = listen_on(*address, name);
  }
  if (!socket) return std::unexpected(std::move(socket.error()));
  return UnixListener(std::move(*socket));
}

SMARM_PUBLIC IoResult<UnixListener> UnixListener::adopt(int fd) {
  auto socket = adopt_fd(fd);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return UnixListener(std::move(*socket));
}

SMARM_PUBLIC IoResult<UnixStream> UnixListener::accept(Wait timeout) {
  auto socket = accept_from(socket_, timeout);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return UnixStream(std::move(*socket));
}

}  // namespace smarm
