// Addresses and descriptors as the sockets of this floor make and name them.
#pragma once

#include <smarm/net.hpp>

#include "runtime/base/owned_fd.hpp"
#include "runtime/base/syscall.hpp"

#include <sys/socket.h>

#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#define SMARM_PUBLIC __attribute__((visibility("default")))

namespace smarm {

inline std::unexpected<IoError> failure(std::error_code code, std::string operation,
                                        std::string address) {
  return std::unexpected(IoError{code, std::move(operation), std::move(address)});
}
inline std::unexpected<IoError> failure(long error, std::string operation, std::string address) {
  return failure(std::error_code(static_cast<int>(error), std::system_category()),
                 std::move(operation), std::move(address));
}
inline std::unexpected<IoError> failed_status(int status, std::string operation,
                                              std::string address) {
  return failure(detail::io_code(status), std::move(operation), std::move(address));
}

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

Address to_address(const Endpoint& endpoint);
IoResult<Address> unix_address(std::string_view path, const char* operation);
std::string text_of(std::string_view host, std::uint16_t port);
std::string text_of(const Address& address);
Address local_address(int fd);  // empty when it has none
Address peer_address(int fd);
inline Endpoint to_endpoint(const Address& a) {
  return Endpoint::from_sockaddr(&a.storage, a.length);
}

// Host and port of "host:port" and "[v6]:port"; "*" is "".
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
IoResult<HostPort> split_address(std::string_view text, const char* operation);
// Addresses to bind to: "" is every one.
IoResult<std::vector<Endpoint>> resolve_passive(std::string_view host, std::uint16_t port);

// Non-blocking, closed on exec.
IoResult<OwnedFd> open_socket(int family, int type, const std::string& text);
IoResult<detail::Socket> make_socket(OwnedFd& fd, const char* operation,
                                     const std::string& address);
// A descriptor that stays the caller's unless it succeeds.
IoResult<detail::Socket> adopt_fd(int fd);
// What a bound or listening socket has in common.
IoResult<OwnedFd> bind_socket(const Address& address, int type, bool reuse_port,
                              const std::string& text);
IoResult<detail::Socket> listen_on(const Address& address, ListenOptions options,
                                   const std::string& text);
IoResult<detail::Socket> connect_to(const Address& address, Wait timeout, const std::string& text);
IoResult<detail::Socket> accept_from(const detail::Socket& listener, Wait timeout,
                                     detail::AcceptPause& pause);

inline void set_option(int fd, int level, int name, int value) {
  raw_syscall(SYS_setsockopt, fd, level, name, &value, sizeof value);
}

}  // namespace smarm
