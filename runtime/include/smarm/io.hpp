// IO in plain blocking style. A wait parks the actor, never the thread; errors are values, never
// errno.
//
// The free functions take any file descriptor and are right whether or not it is O_NONBLOCK, after
// partial reads by others, and after close and reuse: they register for each wait. The RAII types
// make their sockets non-blocking and register once; they are what a server should use. Timeouts
// answer std::errc::timed_out. A socket that another actor closes wakes its waiters with
// std::errc::bad_file_descriptor; no call may begin on the object while another actor closes it.
#pragma once

#include <smarm/smarm.h>
#include <smarm/actor.hpp>
#include <smarm/time.hpp>

#include <cstdint>
#include <exception>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace smarm {

namespace detail {
inline std::error_code io_code(int status) {
  if (status == SMARM_E_TIMEOUT) return std::make_error_code(std::errc::timed_out);
  if (status < 0) throw_status(status, "io");
  return {status, std::system_category()};
}
inline std::expected<void, std::error_code> io_result(int status) {
  if (status == SMARM_OK) return {};
  return std::unexpected(io_code(status));
}
inline std::int64_t opt_ns(std::optional<Duration> d) { return d ? to_ns(*d) : SMARM_FOREVER; }
}  // namespace detail

using Wait = std::optional<Duration>;  // nullopt waits without limit

[[nodiscard]] inline std::expected<void, std::error_code> wait_readable(int fd, Wait timeout = {}) {
  return detail::io_result(smarm_wait_readable(fd, detail::opt_ns(timeout)));
}
[[nodiscard]] inline std::expected<void, std::error_code> wait_writable(int fd, Wait timeout = {}) {
  return detail::io_result(smarm_wait_writable(fd, detail::opt_ns(timeout)));
}
// Bytes read, at least 1, or 0 at the end of the stream.
[[nodiscard]] inline std::expected<std::size_t, std::error_code> read(int fd,
                                                                      std::span<char> buffer,
                                                                      Wait timeout = {}) {
  std::size_t done = 0;
  if (int s = smarm_read(fd, buffer.data(), buffer.size(), detail::opt_ns(timeout), &done))
    return std::unexpected(detail::io_code(s));
  return done;
}
// Bytes written, at least 1 of a non-empty buffer, perhaps fewer than asked.
[[nodiscard]] inline std::expected<std::size_t, std::error_code> write(int fd,
                                                                       std::span<const char> buffer,
                                                                       Wait timeout = {}) {
  std::size_t done = 0;
  if (int s = smarm_write(fd, buffer.data(), buffer.size(), detail::opt_ns(timeout), &done))
    return std::unexpected(detail::io_code(s));
  return done;
}

// Runs f on a thread that may block, and parks until it is done. Returns what f returns, rethrows
// what it throws.
template <class F>
  requires std::invocable<F&>
std::invoke_result_t<F&> block_on_io(F&& f) {
  using R = std::invoke_result_t<F&>;
  struct Job {
    std::remove_reference_t<F>* f;
    std::exception_ptr error{};
    std::conditional_t<std::is_void_v<R>, char,
                       std::optional<std::conditional_t<std::is_void_v<R>, char, R>>>
        result{};
  } job{std::addressof(f)};
  int status = smarm_block_on(
      [](void* p) {
        Job& j = *static_cast<Job*>(p);
        try {
          if constexpr (std::is_void_v<R>) {
            std::invoke(*j.f);
          } else {
            j.result.emplace(std::invoke(*j.f));
          }
        } catch (...) {
          j.error = std::current_exception();
        }
      },
      &job);
  if (status) detail::throw_status(status, "block_on_io");
  if (job.error) std::rethrow_exception(job.error);
  if constexpr (!std::is_void_v<R>) return std::move(*job.result);
}

// What went wrong, doing what, to which address. Converts to its error_code.
struct IoError {
  std::error_code code;
  std::string operation;  // "bind", "accept", "read", ...
  std::string address;    // "127.0.0.1:7777", "/run/x.sock"; may be empty
  std::string what() const {
    return operation + (address.empty() ? "" : " " + address) + ": " + code.message();
  }
  operator std::error_code() const { return code; }  // NOLINT(google-explicit-constructor)
};
template <class T>
using IoResult = std::expected<T, IoError>;

namespace detail {
// The fd and its registration with the poller. Move-only.
class Socket {
 public:
  Socket() = default;
  explicit Socket(smarm_socket* owned) : raw_(owned) {}
  Socket(Socket&& o) noexcept : raw_(std::exchange(o.raw_, nullptr)) {}
  Socket& operator=(Socket&& o) noexcept {
    if (this != &o) {
      close();
      raw_ = std::exchange(o.raw_, nullptr);
    }
    return *this;
  }
  ~Socket() { close(); }
  void close() {
    if (raw_) smarm_socket_close(std::exchange(raw_, nullptr));
  }
  smarm_socket* get() const { return raw_; }
  int fd() const { return raw_ ? smarm_socket_fd(raw_) : -1; }

 private:
  smarm_socket* raw_ = nullptr;
};

class Stream {
 public:
  // 0: the peer has closed.
  [[nodiscard]] IoResult<std::size_t> read(std::span<char> buffer, Wait timeout = {}) {
    std::size_t done = 0;
    const int status =
        smarm_socket_read(socket_.get(), buffer.data(), buffer.size(), opt_ns(timeout), &done);
    if (status != SMARM_OK) [[unlikely]]
      return std::unexpected(failed(status, "read"));
    return done;
  }
  // At least 1 byte of a non-empty buffer, perhaps fewer than asked.
  [[nodiscard]] IoResult<std::size_t> write(std::span<const char> buffer, Wait timeout = {}) {
    std::size_t done = 0;
    const int status =
        smarm_socket_write(socket_.get(), buffer.data(), buffer.size(), opt_ns(timeout), &done);
    if (status != SMARM_OK) [[unlikely]]
      return std::unexpected(failed(status, "write"));
    return done;
  }
  // The time is for each step.
  [[nodiscard]] IoResult<void> write_all(std::span<const char> buffer, Wait timeout = {}) {
    while (!buffer.empty()) {
      auto n = write(buffer, timeout);
      if (!n) [[unlikely]]
        return std::unexpected(std::move(n.error()));
      buffer = buffer.subspan(*n);
    }
    return {};
  }
  // An early end is no_message_available.
  [[nodiscard]] IoResult<void> read_exact(std::span<char> buffer, Wait timeout = {});
  void close() { socket_.close(); }
  int fd() const { return socket_.fd(); }

 protected:
  Stream() = default;
  explicit Stream(Socket socket) : socket_(std::move(socket)) {}
  IoError failed(int status, const char* operation) const;
  Socket socket_;
};
}  // namespace detail

class TcpStream : public detail::Stream {
 public:
  TcpStream() = default;
  explicit TcpStream(detail::Socket socket) : Stream(std::move(socket)) {}
  // host is a numeric address or a name (resolved off the workers). Parks.
  [[nodiscard]] static IoResult<TcpStream> connect(std::string_view host, std::uint16_t port,
                                                   Wait timeout = {});
  // Takes a connected socket over.
  [[nodiscard]] static IoResult<TcpStream> adopt(int fd);
};

class TcpListener {
 public:
  TcpListener() = default;
  // "127.0.0.1", "::1", "" for every address; port 0 lets the kernel choose. SO_REUSEADDR is set.
  [[nodiscard]] static IoResult<TcpListener> bind(std::string_view host, std::uint16_t port);
  // "host:port", "[v6]:port".
  [[nodiscard]] static IoResult<TcpListener> bind(std::string_view address);
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
};

class UnixStream : public detail::Stream {
 public:
  UnixStream() = default;
  explicit UnixStream(detail::Socket socket) : Stream(std::move(socket)) {}
  [[nodiscard]] static IoResult<UnixStream> connect(std::string_view path, Wait timeout = {});
  [[nodiscard]] static IoResult<UnixStream> adopt(int fd);
};

class UnixListener {
 public:
  UnixListener() = default;
  [[nodiscard]] static IoResult<UnixListener> bind(
      std::string_view path);  // a stale socket file is replaced
  [[nodiscard]] static IoResult<UnixListener> adopt(int fd);
  [[nodiscard]] IoResult<UnixStream> accept(Wait timeout = {});
  void close() { socket_.close(); }
  int fd() const { return socket_.fd(); }

 private:
  explicit UnixListener(detail::Socket socket) : socket_(std::move(socket)) {}
  detail::Socket socket_;
};

}  // namespace smarm
