// Byte streams: what TCP and Unix sockets and the ends of pipes have in common.
#pragma once

#include <smarm/smarm.h>
#include <smarm/fd.hpp>

#include <cstddef>
#include <span>
#include <utility>

namespace smarm {

namespace detail {

// The descriptor and its registration with the poller. Move-only.
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
  // How many bytes came, perhaps fewer than there is room for; 0: the peer has closed.
  [[nodiscard]] IoResult<std::size_t> read(std::span<char> buffer, Wait timeout = {}) {
    std::size_t done = 0;
    const int status =
        smarm_socket_read(socket_.get(), buffer.data(), buffer.size(), opt_ns(timeout), &done);
    if (status != SMARM_OK) [[unlikely]]
      return std::unexpected(failed(status, "read"));
    return done;
  }
  // How many bytes went, perhaps fewer than there are; at least 1 of a non-empty buffer.
  [[nodiscard]] IoResult<std::size_t> write(std::span<const char> buffer, Wait timeout = {}) {
    std::size_t done = 0;
    const int status =
        smarm_socket_write(socket_.get(), buffer.data(), buffer.size(), opt_ns(timeout), &done);
    if (status != SMARM_OK) [[unlikely]]
      return std::unexpected(failed(status, "write"));
    return done;
  }
  // All of it. The time is for each step.
  [[nodiscard]] IoResult<void> write_all(std::span<const char> buffer, Wait timeout = {}) {
    while (!buffer.empty()) {
      auto n = write(buffer, timeout);
      if (!n) [[unlikely]]
        return std::unexpected(std::move(n.error()));
      buffer = buffer.subspan(*n);
    }
    return {};
  }
  // Fills the buffer; an end before that is std::errc::no_message_available. The time is for each
  // step.
  [[nodiscard]] IoResult<void> read_exact(std::span<char> buffer, Wait timeout = {});

  // The same with several buffers, one after the other, in one system call for at most 1024.
  using Buffers = std::span<const std::span<char>>;
  using ConstBuffers = std::span<const std::span<const char>>;
  [[nodiscard]] IoResult<std::size_t> read_vectored(Buffers buffers, Wait timeout = {});
  [[nodiscard]] IoResult<std::size_t> write_vectored(ConstBuffers buffers, Wait timeout = {});
  [[nodiscard]] IoResult<void> write_all_vectored(ConstBuffers buffers, Wait timeout = {});

  void close() { socket_.close(); }
  int fd() const { return socket_.fd(); }

 protected:
  Stream() = default;
  explicit Stream(Socket socket) : socket_(std::move(socket)) {}
  IoError failed(int status, const char* operation) const;
  Socket socket_;
};

}  // namespace detail

// The ends of a pipe. A write with nobody left to read is std::errc::broken_pipe: in an actor no
// SIGPIPE is delivered.
class PipeReader : detail::Stream {
 public:
  PipeReader() = default;
  // Takes the reading end of a pipe over.
  [[nodiscard]] static IoResult<PipeReader> adopt(int fd);
  using Stream::close, Stream::fd;
  using Stream::read, Stream::read_exact, Stream::read_vectored;

 private:
  explicit PipeReader(detail::Socket socket) : Stream(std::move(socket)) {}
};

class PipeWriter : detail::Stream {
 public:
  PipeWriter() = default;
  // Takes the writing end of a pipe over.
  [[nodiscard]] static IoResult<PipeWriter> adopt(int fd);
  using Stream::close, Stream::fd;
  using Stream::write, Stream::write_all, Stream::write_vectored, Stream::write_all_vectored;

 private:
  explicit PipeWriter(detail::Socket socket) : Stream(std::move(socket)) {}
};

struct Pipe {
  PipeReader reader;
  PipeWriter writer;
};
[[nodiscard]] IoResult<Pipe> make_pipe();

}  // namespace smarm
