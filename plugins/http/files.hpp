// Static files below a root directory.
//
// What a client asks for never leads outside: not by "..", not by an encoded slash, not by a
// symbolic link. The kernel sees to it (openat2), or, where it is too old, a look at where the
// opened file really is.
#pragma once

#include "request.hpp"

#include <ctime>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace http {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int owned) : fd_(owned) {}
  Descriptor(Descriptor&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Descriptor& operator=(Descriptor o) noexcept { return std::swap(fd_, o.fd_), *this; }
  ~Descriptor();
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// The file that the path of a request names, relative to the root: decoded, without the slashes in
// front. The empty path is the root itself.
std::expected<std::string, Status> decode_path(std::string_view path);

// By the suffix of the file's name.
std::string_view content_type(std::string_view file);

struct Range {
  std::uint64_t first = 0, length = 0;
};
// The one range of bytes that a field Range asks for. Nothing when the field is to be ignored:
// several ranges, other units, no range at all. An empty range: there are no such bytes.
std::optional<Range> parse_range(std::string_view field, std::uint64_t size);

// What of a request decides on what is read.
struct FileRequest {
  bool body = true;
  std::string_view if_modified_since, range;
};

// What to answer. ok and partial_content: the bytes of `range` follow, from `content` when it has
// them, else from `file`.
struct File {
  Status status = Status::not_found;
  Descriptor file;
  std::string_view type;
  std::uint64_t size = 0;
  Range range;
  std::time_t modified = 0;
  std::string content;
};

// These block: they are for smarm::block_on_io.
std::expected<Descriptor, int> open_directory(const std::string& path);  // else an errno
File open_file(int root, const std::string& path, const FileRequest& request);
// False: the file has become shorter, or cannot be read any more.
bool read_file(int file, std::span<char> buffer, std::uint64_t offset);

// The two ways to open a file that is certainly below the root: a descriptor, or -1 and errno.
int open_beneath(int root, const char* path);
int open_and_check(int root, const char* path);

}  // namespace http
