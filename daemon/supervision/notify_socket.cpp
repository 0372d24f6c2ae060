#include "daemon/supervision/notify_socket.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <utility>

namespace smarmd {

namespace {

bool begins(std::string_view message, std::string_view field) { return message.starts_with(field); }

}  // namespace

NotifySocket::NotifySocket(const char* address) : address_(address ? address : "") {
  (void)connect();
}

// Connected, because poll() tells of the room in a peer's queue only then.
bool NotifySocket::connect() {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  const bool abstract = address_.starts_with('@');
  if (address_.size() < 2 || address_.size() >= sizeof to.sun_path ||
      (!abstract && address_.front() != '/'))
    return false;
  address_.copy(to.sun_path, address_.size());
  if (abstract) to.sun_path[0] = '\0';
  // An abstract name ends with the address, a path with its zero.
  const std::size_t size = offsetof(sockaddr_un, sun_path) + address_.size() + (abstract ? 0 : 1);
  fd_ = plugin::UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return fd_ && ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to),
                          static_cast<socklen_t>(size)) == 0;
}

void NotifySocket::push(std::string message) {
  if (stopping_ && (begins(message, "READY=1") || begins(message, "RELOADING=1"))) return;
  stopping_ |= begins(message, "STOPPING=1");
  make_room_for(message);
  waiting_.push_back(std::move(message));
  send_waiting();
}

void NotifySocket::make_room_for(std::string_view message) {
  if (begins(message, "RELOADING=1")) {
    const auto reload = std::ranges::find_if(
        waiting_, [](const std::string& m) { return begins(m, "RELOADING=1"); });
    waiting_.erase(std::remove_if(reload, waiting_.end(),
                                  [](const std::string& m) { return !begins(m, "WATCHDOG=1"); }),
                   waiting_.end());
  }
  const bool has_status = message.find("STATUS=") != message.npos;
  const bool watchdog = begins(message, "WATCHDOG=1");
  std::erase_if(waiting_, [&](const std::string& m) {
    return (has_status && begins(m, "STATUS=")) || (watchdog && begins(m, "WATCHDOG=1"));
  });
}

void NotifySocket::send_waiting() {
  bool connected_anew = false;
  while (!waiting_.empty()) {
    const std::string& m = waiting_.front();
    if (::send(fd_.get(), m.data(), m.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return;
      // The manager may have made its socket anew; when there is none, nobody wants to know.
      if (!std::exchange(connected_anew, true) && connect()) continue;
    }
    waiting_.pop_front();
  }
}

}  // namespace smarmd
