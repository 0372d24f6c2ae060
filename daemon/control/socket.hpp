// The file side of the control socket: making it without a moment of wrong permissions, and taking
// over what a dead daemon left behind.
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>

#include "daemon/plugin/unique_fd.hpp"

namespace smarmd {

// Where a socket's file is, and which file it is.
struct SocketPlace {
  std::string path;  // empty: nowhere
  dev_t device = 0;
  ino_t inode = 0;

  // Removes the file if it is still this one. Call it while the socket listens: nobody takes the
  // path of a daemon that answers.
  void remove() const;
};

// A listening Unix socket and its file. The destructor removes the file if it is still this
// socket's.
class SocketFile {
 public:
  // Blocks for at most two seconds, when another daemon is starting on the same directory. The
  // error is one line that names the path and says what to do.
  [[nodiscard]] static std::expected<SocketFile, std::string> bind(const std::string& path,
                                                                   unsigned mode);

  SocketFile(SocketFile&& other) noexcept;
  SocketFile& operator=(SocketFile&&) = delete;
  ~SocketFile();

  const SocketPlace& place() const { return place_; }
  // Removes the file now.
  void remove();
  // Gives the listening descriptor away; the file stays this object's.
  plugin::UniqueFd take_listener() { return std::move(listener_); }

 private:
  SocketFile() = default;

  plugin::UniqueFd listener_;
  SocketPlace place_;
};

}  // namespace smarmd
