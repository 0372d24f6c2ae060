// What the tests of the daemon's servers share: a directory of their own, a raw client that waits
// with deadlines, and a way to wait for an event.
#pragma once

#include <doctest/doctest.h>

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "daemon/plugin/unique_fd.hpp"

namespace smarmd::test {

inline constexpr std::chrono::seconds kPatience{20};

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "smarmd-test-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Looks again and again: for states that nobody announces.
inline bool eventually(const std::function<bool()>& holds,
                       std::chrono::milliseconds patience = kPatience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

// One end of a stream, driven by hand.
class RawClient {
 public:
  explicit RawClient(plugin::UniqueFd fd) : fd_(std::move(fd)) {}

  // False when the other end has gone, or takes nothing for kPatience.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(n));
      } else if (n == 0 || errno != EAGAIN || !wait(POLLOUT)) {
        return false;
      }
    }
    return true;
  }

  // The next line without its newline; nothing at the end of the stream or after kPatience.
  std::optional<std::string> line() {
    for (;;) {
      if (const std::size_t end = buffer_.find('\n'); end != std::string::npos) {
        std::string out = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return out;
      }
      if (!receive()) return std::nullopt;
    }
  }

  // Everything up to the end of the stream; nothing when the end does not come within kPatience.
  std::optional<std::string> rest() {
    while (receive()) {
    }
    if (!ended_) return std::nullopt;
    return std::move(buffer_);
  }

  void end_sending() { ::shutdown(fd_.get(), SHUT_WR); }
  int fd() const { return fd_.get(); }

 private:
  bool wait(short events) {
    pollfd waiting{fd_.get(), events, 0};
    const auto ms = std::chrono::milliseconds(kPatience).count();
    return ::poll(&waiting, 1, static_cast<int>(ms)) > 0;
  }

  bool receive() {
    char chunk[64 * 1024];
    if (ended_ || !wait(POLLIN)) return false;
    const ssize_t n = ::recv(fd_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
    if (n > 0) buffer_.append(chunk, static_cast<std::size_t>(n));
    ended_ = n == 0 || (n < 0 && errno != EAGAIN);
    return n > 0;
  }

  plugin::UniqueFd fd_;
  std::string buffer_;
  bool ended_ = false;
};

}  // namespace smarmd::test
