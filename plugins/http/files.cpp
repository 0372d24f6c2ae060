#include "files.hpp"

#include "date.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>

namespace http {

namespace {

// Up to here a file is read in the same go that opens it, and sent by one write with its head.
constexpr std::uint64_t kWhole = std::uint64_t{15} * 1024;

// O_NONBLOCK: a FIFO would wait for a writer, else.
constexpr int kOpenFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

constexpr int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

Status status_of_errno(int error) {
  switch (error) {
    case EACCES:
    case EPERM: return Status::forbidden;
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV:  // a link that leads outside
    case ENXIO: return Status::not_found;
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOMEM: return Status::unavailable;
    default: return Status::internal_error;
  }
}

std::string real_path(int fd) {
  std::string path(PATH_MAX, '\0');
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = ::readlink(link.c_str(), path.data(), path.size());
  path.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return path;
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

std::expected<std::string, Status> decode_path(std::string_view path) {
  std::string name;
  name.reserve(path.size() + std::string_view("index.html").size());
  for (std::size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (c == '%') {
      const int high = i + 1 < path.size() ? hex_digit(path[i + 1]) : -1;
      const int low = i + 2 < path.size() ? hex_digit(path[i + 2]) : -1;
      if (high < 0 || low < 0) return std::unexpected(Status::bad_request);
      c = static_cast<char>(high * 16 + low);
      i += 2;
      if (c == '\0') return std::unexpected(Status::bad_request);
      if (c == '/') return std::unexpected(Status::not_found);  // in no file's name
    }
    // Empty segments: as the kernel reads them.
    if (c == '/' && (name.empty() || name.back() == '/')) continue;
    name.push_back(c);
  }
  for (std::size_t at = 0; at < name.size();) {
    const std::size_t slash = std::min(name.find('/', at), name.size());
    if (std::string_view(name).substr(at, slash - at) == "..")
      return std::unexpected(Status::not_found);
    at = slash + 1;
  }
  return name;
}

std::string_view content_type(std::string_view file) {
  struct Type {
    std::string_view suffix, type;
  };
  static constexpr auto kTypes = std::to_array<Type>({
      {"avif", "image/avif"},
      {"css", "text/css; charset=utf-8"},
      {"csv", "text/csv; charset=utf-8"},
      {"gif", "image/gif"},
      {"htm", "text/html; charset=utf-8"},
      {"html", "text/html; charset=utf-8"},
      {"ico", "image/vnd.microsoft.icon"},
      {"jpeg", "image/jpeg"},
      {"jpg", "image/jpeg"},
      {"js", "text/javascript; charset=utf-8"},
      {"json", "application/json"},
      {"md", "text/markdown; charset=utf-8"},
      {"mjs", "text/javascript; charset=utf-8"},
      {"mp3", "audio/mpeg"},
      {"mp4", "video/mp4"},
      {"pdf", "application/pdf"},
      {"png", "image/png"},
      {"svg", "image/svg+xml"},
      {"txt", "text/plain; charset=utf-8"},
      {"wasm", "application/wasm"},
      {"webm", "video/webm"},
      {"webp", "image/webp"},
      {"woff2", "font/woff2"},
      {"xml", "application/xml"},
      {"zip", "application/zip"},
  });
  file = file.substr(file.rfind('/') + 1);
  if (const std::size_t dot = file.rfind('.'); dot != std::string_view::npos) {
    const std::string_view suffix = file.substr(dot + 1);
    const auto* it = std::ranges::find_if(
        kTypes, [&](const Type& t) { return equal_ignoring_case(suffix, t.suffix); });
    if (it != kTypes.end()) return it->type;
  }
  return "application/octet-stream";
}

std::optional<Range> parse_range(std::string_view field, std::uint64_t size) {
  constexpr std::string_view unit = "bytes=";
  if (!equal_ignoring_case(field.substr(0, unit.size()), unit)) return std::nullopt;
  field.remove_prefix(unit.size());
  const std::size_t dash = field.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto number = [](std::string_view text) -> std::optional<std::uint64_t> {
    std::uint64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return n;
  };
  const auto first = number(field.substr(0, dash));
  const auto last = number(field.substr(dash + 1));
  if (dash == 0) {  // the last bytes
    if (!last) return std::nullopt;
    const std::uint64_t length = std::min(*last, size);
    return Range{size - length, length};
  }
  const bool to_the_end = dash + 1 == field.size();
  if (!first || (!last && !to_the_end) || (last && *last < *first)) return std::nullopt;
  if (*first >= size) return Range{};
  return Range{*first, (to_the_end ? size - 1 : std::min(*last, size - 1)) - *first + 1};
}

std::expected<Descriptor, int> open_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return std::unexpected(errno);
  return Descriptor(fd);
}

int open_beneath(int root, const char* path) {
  open_how how{};
  how.flags = kOpenFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  long fd = -1;
  // EAGAIN: something was renamed meanwhile, and the kernel cannot tell whether it led outside.
  for (int attempt = 0; attempt < 8; ++attempt) {
    fd = ::syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd >= 0 || errno != EAGAIN) break;
  }
  // Before Linux 5.6, or where a filter of system calls does not know it.
  if (fd < 0 && (errno == ENOSYS || errno == EPERM)) return open_and_check(root, path);
  return static_cast<int>(fd);
}

int open_and_check(int root, const char* path) {
  Descriptor file(::openat(root, path, kOpenFlags));
  if (!file) return -1;
  const std::string real = real_path(file.get());
  std::string below = real_path(root);
  const bool is_root = real == below;
  const bool known = !real.empty() && !below.empty();  // not so without /proc
  if (!below.ends_with('/')) below.push_back('/');
  if (!known || (!is_root && !real.starts_with(below))) {
    errno = EXDEV;
    return -1;
  }
  return file.release();
}

File open_file(int root, const std::string& path, const FileRequest& request) {
  File answer;
  const auto fail = [&](Status status) {
    answer.status = status;
    answer.file = Descriptor();
    return std::move(answer);
  };
  std::string name = path.empty() ? "." : path;
  Descriptor file(open_beneath(root, name.c_str()));
  if (!file) return fail(status_of_errno(errno));
  struct stat about{};
  if (::fstat(file.get(), &about) != 0) return fail(status_of_errno(errno));
  if (S_ISDIR(about.st_mode)) {
    // With the slash, so that links in the page are relative to the directory.
    if (!path.empty() && !path.ends_with('/')) return fail(Status::moved_permanently);
    name = path + "index.html";
    file = Descriptor(open_beneath(root, name.c_str()));
    if (!file) return fail(status_of_errno(errno));
    if (::fstat(file.get(), &about) != 0) return fail(status_of_errno(errno));
  }
  if (!S_ISREG(about.st_mode)) return fail(Status::not_found);

  answer.type = content_type(name);
  answer.size = static_cast<std::uint64_t>(about.st_size);
  answer.modified = about.st_mtime;
  if (const auto since = parse_date(request.if_modified_since); since && about.st_mtime <= *since)
    return fail(Status::not_modified);
  answer.status = Status::ok;
  answer.range = {0, answer.size};
  if (const auto range = parse_range(request.range, answer.size)) {
    if (range->length == 0) return fail(Status::range_not_satisfiable);
    answer.status = Status::partial_content;
    answer.range = *range;
  }
  if (!request.body) return answer;
  if (answer.range.length > kWhole) {
    answer.file = std::move(file);
    return answer;
  }
  answer.content.resize(answer.range.length);
  if (!read_file(file.get(), answer.content, answer.range.first))
    return fail(Status::internal_error);
  return answer;
}

bool read_file(int file, std::span<char> buffer, std::uint64_t offset) {
  while (!buffer.empty()) {
    const ssize_t got = ::pread(file, buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    buffer = buffer.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return true;
}

}  // namespace http
