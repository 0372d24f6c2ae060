// A descriptor that closes itself, until it is given away.
#pragma once

#include "runtime/base/syscall.hpp"

#include <utility>

namespace smarm {

class OwnedFd {
 public:
  explicit OwnedFd(long fd = -1) : fd_(static_cast<int>(fd)) {}  // negative: none
  OwnedFd(OwnedFd&& o) noexcept : fd_(o.release()) {}
  OwnedFd& operator=(OwnedFd&&) = delete;
  ~OwnedFd() {
    if (fd_ >= 0) close_fd(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace smarm
