// The service manager's side of sd_notify.
#pragma once

#include <doctest/doctest.h>

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <string>
#include <vector>

#include "tests/unit/daemon/control/support.hpp"

namespace smarmd::test {

// Reads nothing until it is asked what it has received.
class ServiceManager {
 public:
  explicit ServiceManager(bool abstract = false)
      : address_((abstract ? "@" : "") + (directory_ / "notify.sock")),
        fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    address_.copy(name.sun_path, sizeof name.sun_path - 1);
    if (abstract) name.sun_path[0] = '\0';
    const auto size = offsetof(sockaddr_un, sun_path) + address_.size() + (abstract ? 0 : 1);
    REQUIRE(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&name),
                   static_cast<socklen_t>(size)) == 0);
  }

  const std::string& address() const { return address_; }  // as NOTIFY_SOCKET has it
  const std::vector<std::string>& received() {
    char buffer[512];
    for (ssize_t n; (n = ::recv(fd_.get(), buffer, sizeof buffer, 0)) >= 0;)
      all_.emplace_back(buffer, static_cast<std::size_t>(n));
    return all_;
  }

 private:
  TempDir directory_;
  std::string address_;
  plugin::UniqueFd fd_;
  std::vector<std::string> all_;
};

}  // namespace smarmd::test
