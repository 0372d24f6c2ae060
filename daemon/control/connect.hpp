// Unix socket addresses, for both sides of the control socket. In a header of its own so that
// smarmctl links nothing of the server.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <expected>
#include <optional>
#include <string>

#include "daemon/plugin/unique_fd.hpp"

namespace smarmd {

// Nothing when the path is empty or longer than 107 bytes.
inline std::optional<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return std::nullopt;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// A connect that does not wait; the descriptor is non-blocking. The error is an errno: EAGAIN when
// the listener's queue is full, ENAMETOOLONG when the path does not fit.
[[nodiscard]] inline std::expected<plugin::UniqueFd, int> connect_socket(const std::string& path) {
  const auto address = unix_address(path);
  if (!address) return std::unexpected(path.empty() ? ENOENT : ENAMETOOLONG);
  plugin::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return std::unexpected(errno);
  const auto* to = reinterpret_cast<const sockaddr*>(&*address);
  if (::connect(fd.get(), to, sizeof *address) != 0) return std::unexpected(errno);
  return fd;
}

}  // namespace smarmd
