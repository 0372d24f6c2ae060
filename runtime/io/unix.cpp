// Unix streams and listeners.

#include "runtime/io/address.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace smarm {

namespace {

bool is_socket_file(const std::string& path) {
  struct stat st{};
  return ::stat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode);
}

bool somebody_listens(const Address& a) {
  auto fd = open_socket(AF_UNIX, SOCK_STREAM, "");
  if (!fd) return false;
  const long e = raw_syscall(SYS_connect, fd->get(), a.get(), a.length);
  return e == 0 || e == -EAGAIN;
}

}  // namespace

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

SMARM_PUBLIC IoResult<void> UnixStream::shutdown_write() {
  if (const long e = raw_syscall(SYS_shutdown, fd(), SHUT_WR); e < 0)
    return failure(-e, "shutdown", text_of(peer_address(fd())));
  return {};
}

SMARM_PUBLIC IoResult<UnixListener> UnixListener::bind(std::string_view path,
                                                       ListenOptions options) {
  auto address = unix_address(path, "bind");
  if (!address) return std::unexpected(std::move(address.error()));
  const std::string name(path);
  auto socket = listen_on(*address, options, name);
  if (!socket && socket.error().code == std::errc::address_in_use && is_socket_file(name) &&
      !somebody_listens(*address)) {
    ::unlink(name.c_str());
    socket = listen_on(*address, options, name);
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
  auto socket = accept_from(socket_, timeout, pause_);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return UnixStream(std::move(*socket));
}

}  // namespace smarm
