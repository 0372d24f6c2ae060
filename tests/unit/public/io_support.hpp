// File descriptors for the IO tests.
#pragma once

#include "tests/unit/public/support.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace test {

// Two ends that close themselves. fd[0] is the reading end of a pipe.
class FdPair {
 public:
  enum Kind { pipe, nonblocking_pipe, socket, nonblocking_socket };
  explicit FdPair(Kind kind) {
    std::signal(SIGPIPE, SIG_IGN);
    int result = -1;
    switch (kind) {
      case pipe: result = ::pipe2(fd_, O_CLOEXEC); break;
      case nonblocking_pipe: result = ::pipe2(fd_, O_CLOEXEC | O_NONBLOCK); break;
      case socket: result = ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd_); break;
      case nonblocking_socket:
        result = ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd_);
        break;
    }
    REQUIRE(result == 0);
  }
  FdPair(const FdPair&) = delete;
  FdPair& operator=(const FdPair&) = delete;
  ~FdPair() {
    close_reader();
    close_writer();
  }
  int reader() const { return fd_[0]; }
  int writer() const { return fd_[1]; }
  void close_reader() { close(fd_[0]); }
  void close_writer() { close(fd_[1]); }
  void forget_reader() { fd_[0] = -1; }  // the number is somebody else's by now
  // Closes the ends of another pair and takes their numbers, in one step each: another thread may
  // open a file at any moment.
  void take_numbers_of(FdPair& old) {
    for (int end : {0, 1}) {
      const int number = std::exchange(old.fd_[end], -1);
      REQUIRE(::dup3(fd_[end], number, O_CLOEXEC) == number);
      close(fd_[end]);
      fd_[end] = number;
    }
  }

 private:
  static void close(int& fd) {
    if (fd >= 0) ::close(std::exchange(fd, -1));
  }
  int fd_[2] = {-1, -1};
};

// Empty; gone with its object.
class Directory {
 public:
  Directory() {
    char name[] = "/tmp/smarm-test-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  std::string path;
};

inline constexpr FdPair::Kind kEveryKind[] = {FdPair::pipe, FdPair::nonblocking_pipe,
                                              FdPair::socket, FdPair::nonblocking_socket};

// Runs f(kind) for every kind of pair at every worker count.
template <class F>
void for_each_kind(F f) {
  for (FdPair::Kind kind : kEveryKind) {
    CAPTURE(kind);
    run_at_each_worker_count([&f, kind] { f(kind); });
  }
}

inline std::span<const char> bytes(std::string_view text) { return {text.data(), text.size()}; }

// Writes all of it; false at an error.
inline bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    auto n = smarm::write(fd, bytes(text), kPatience);
    if (!n) return false;
    text.remove_prefix(*n);
  }
  return true;
}
// Reads until there are n bytes or the stream ends.
inline std::string read_n(int fd, std::size_t n) {
  std::string text(n, '\0');
  std::size_t have = 0;
  while (have < n) {
    auto got = smarm::read(fd, std::span(text).subspan(have), kPatience);
    if (!got || *got == 0) break;
    have += *got;
  }
  text.resize(have);
  return text;
}
// Bytes that show when some are lost or out of order.
inline std::string pattern(std::size_t n) {
  std::string text(n, '\0');
  for (std::size_t i = 0; i < n; ++i) text[i] = static_cast<char>(i * 31 + i / 251);
  return text;
}

}  // namespace test
