// Byte streams and pipes.

#include <smarm/stream.hpp>

#include "runtime/io/address.hpp"

#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

namespace smarm {

SMARM_PUBLIC IoError detail::Stream::failed(int status, const char* operation) const {
  return {io_code(status), operation,
          socket_.get() ? text_of(peer_address(fd())) : "closed stream"};
}

SMARM_PUBLIC IoResult<void> detail::Stream::read_exact(std::span<char> buffer, Wait timeout) {
  while (!buffer.empty()) {
    auto n = read(buffer, timeout);
    if (!n) return std::unexpected(std::move(n.error()));
    if (*n == 0)
      return failure(std::make_error_code(std::errc::no_message_available), "read_exact",
                     text_of(peer_address(fd())));
    buffer = buffer.subspan(*n);
  }
  return {};
}

// ---- several buffers ----

namespace {

// Those of a call, as the kernel takes them. Few lie on the stack.
template <class Bytes>
class Parts {
 public:
  explicit Parts(std::span<const Bytes> buffers) {
    const std::size_t n = std::min<std::size_t>(buffers.size(), IOV_MAX);
    if (n > few_.size()) many_.resize(n);
    iovec* parts = n > few_.size() ? many_.data() : few_.data();
    for (std::size_t i = 0; i < n; ++i)
      parts[i] = {const_cast<char*>(buffers[i].data()), buffers[i].size()};
    message_.msg_iov = parts;
    message_.msg_iovlen = n;
  }
  msghdr& message() { return message_; }
  bool empty() const {
    for (std::size_t i = 0; i < message_.msg_iovlen; ++i) {
      if (message_.msg_iov[i].iov_len != 0) return false;
    }
    return true;
  }

 private:
  std::array<iovec, 8> few_;
  std::vector<iovec> many_;
  msghdr message_{};
};

}  // namespace

SMARM_PUBLIC IoResult<std::size_t> detail::Stream::read_vectored(Buffers buffers, Wait timeout) {
  Parts<std::span<char>> parts(buffers);
  std::size_t done = 0;
  if (parts.empty()) return read({}, timeout);  // recvmsg would wait all the same
  if (int status = smarm_socket_receive(socket_.get(), &parts.message(), opt_ns(timeout), &done))
    return std::unexpected(failed(status, "read"));
  return done;
}

SMARM_PUBLIC IoResult<std::size_t> detail::Stream::write_vectored(ConstBuffers buffers,
                                                                  Wait timeout) {
  Parts<std::span<const char>> parts(buffers);
  std::size_t done = 0;
  if (int status = smarm_socket_send(socket_.get(), &parts.message(), opt_ns(timeout), &done))
    return std::unexpected(failed(status, "write"));
  return done;
}

SMARM_PUBLIC IoResult<void> detail::Stream::write_all_vectored(ConstBuffers buffers, Wait timeout) {
  while (!buffers.empty()) {
    auto n = write_vectored(buffers, timeout);
    if (!n) return std::unexpected(std::move(n.error()));
    std::size_t gone = *n;
    while (!buffers.empty() && gone >= buffers.front().size()) {
      gone -= buffers.front().size();
      buffers = buffers.subspan(1);
    }
    if (gone == 0) continue;
    // The rest of one that went in part.
    if (auto rest = write_all(buffers.front().subspan(gone), timeout); !rest) return rest;
    buffers = buffers.subspan(1);
  }
  return {};
}

// ---- pipes ----

namespace {

// The file's access mode must be one of two, and it must be a pipe (or a character device).
IoResult<detail::Socket> adopt_end(int fd, int mode) {
  const long flags = raw_syscall(SYS_fcntl, fd, F_GETFL);
  if (flags < 0) return failure(-flags, "adopt", "fd " + std::to_string(fd));
  const long access = flags & O_ACCMODE;
  if (access != mode && access != O_RDWR)
    return failure(
        EBADF, mode == O_RDONLY ? "adopt (not open for reading)" : "adopt (not open for writing)",
        "fd " + std::to_string(fd));
  return adopt_fd(fd);
}

}  // namespace

SMARM_PUBLIC IoResult<PipeReader> PipeReader::adopt(int fd) {
  auto end = adopt_end(fd, O_RDONLY);
  if (!end) return std::unexpected(std::move(end.error()));
  return PipeReader(std::move(*end));
}

SMARM_PUBLIC IoResult<PipeWriter> PipeWriter::adopt(int fd) {
  auto end = adopt_end(fd, O_WRONLY);
  if (!end) return std::unexpected(std::move(end.error()));
  return PipeWriter(std::move(*end));
}

SMARM_PUBLIC IoResult<Pipe> make_pipe() {
  int ends[2];
  if (const long e = raw_syscall(SYS_pipe2, ends, O_CLOEXEC | O_NONBLOCK); e < 0)
    return failure(-e, "pipe", "");
  OwnedFd reading(ends[0]), writing(ends[1]);
  auto reader = PipeReader::adopt(reading.get());
  if (!reader) return std::unexpected(std::move(reader.error()));
  reading.release();
  auto writer = PipeWriter::adopt(writing.get());
  if (!writer) return std::unexpected(std::move(writer.error()));
  writing.release();
  return Pipe{std::move(*reader), std::move(*writer)};
}

}  // namespace smarm
