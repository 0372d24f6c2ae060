#include "daemon/plugin/image_store.hpp"

#include "daemon/plugin/text.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

namespace smarmd::plugin {
namespace {

namespace fs = std::filesystem;
using Failure = std::unexpected<std::string>;

constexpr std::string_view kTemporaryPrefix = ".new-";

Failure failure(std::string_view what, int error) {
  return Failure(std::string(what) + ": " + errno_text(error));
}

// Removes the file unless it was kept.
class Temporary {
 public:
  explicit Temporary(fs::path path) : path_(std::move(path)) {}
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  const fs::path& path() const { return path_; }
  void keep() { path_.clear(); }

 private:
  fs::path path_;
};

// FNV-1a, 64 bits (Fowler, Noll, Vo). Tells one build from the next; it is no defence against an
// author, whose code we run anyway.
class Fnv1a {
 public:
  void add(const char* bytes, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i)
      value_ = (value_ ^ static_cast<unsigned char>(bytes[i])) * 0x100000001b3u;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

bool write_all(int fd, const char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(fd, bytes, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

// Copies from the start of `from` to its end and returns the hash. Stops one byte past the limit.
std::expected<std::uint64_t, std::string> copy_bytes(int from, int to, std::uint64_t limit) {
  std::vector<char> buffer(256 << 10);
  Fnv1a hash;
  std::uint64_t offset = 0;
  for (;;) {
    const ssize_t n = ::pread(from, buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failure("cannot be read", errno);
    if (n == 0) return hash.value();
    offset += static_cast<std::uint64_t>(n);
    if (offset > limit) return Failure("is larger than " + std::to_string(limit >> 20) + " MiB");
    hash.add(buffer.data(), static_cast<std::size_t>(n));
    if (!write_all(to, buffer.data(), static_cast<std::size_t>(n)))
      return failure("cannot be copied into the image directory", errno);
  }
}

bool same_version(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

bool trusted_owner(uid_t owner) { return owner == 0 || owner == ::geteuid(); }

// Opens the source and checks what may be checked before its bytes are read.
std::expected<UniqueFd, std::string> open_source(const fs::path& source, std::uint64_t limit,
                                                 struct stat& status) {
  const fs::path directory = source.has_parent_path() ? source.parent_path() : fs::path(".");
  struct stat around{};
  if (::stat(directory.c_str(), &around) != 0)
    return failure("is in a directory that cannot be read", errno);
  if (auto ok = check_ownership(directory, around); !ok)
    return Failure("is in a directory that is not safe: " + directory.string() + " " + ok.error());
  UniqueFd fd(::open(source.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return failure("cannot be opened", errno);
  if (::fstat(fd.get(), &status) != 0) return failure("cannot be read", errno);
  if (!S_ISREG(status.st_mode)) return Failure("is not a regular file");
  if (auto ok = check_ownership(source, status); !ok) return Failure(std::move(ok.error()));
  if (static_cast<std::uint64_t>(status.st_size) > limit)
    return Failure("is larger than " + std::to_string(limit >> 20) + " MiB");
  return fd;
}

std::expected<void, std::string> prepare_directory(const fs::path& directory) {
  std::error_code error;
  // What is made here is the daemon's alone, whatever the umask. The process has no other thread
  // yet that makes files.
  const mode_t before = ::umask(0077);
  fs::create_directories(directory, error);
  ::umask(before);
  if (error)
    return Failure("cannot make the image directory " + directory.string() + ": " +
                   error.message() + "; give the daemon a state directory that it may write");
  struct stat status{};
  if (::stat(directory.c_str(), &status) != 0)
    return failure("cannot read the image directory " + directory.string(), errno);
  if (auto ok = check_ownership(directory, status); !ok)
    return Failure("the image directory " + directory.string() + " " + ok.error());
  if (status.st_uid == ::geteuid()) ::chmod(directory.c_str(), 0700);
  struct statvfs mount{};
  if (::statvfs(directory.c_str(), &mount) == 0 && (mount.f_flag & ST_NOEXEC)) {
    return Failure("the image directory " + directory.string() +
                   " is on a file system mounted noexec: plugins cannot be loaded from it; choose "
                   "another state directory");
  }
  return {};
}

std::expected<UniqueFd, std::string> take_lock(const fs::path& directory) {
  const fs::path path = directory / ".lock";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return failure("cannot open " + path.string(), errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failure("cannot lock " + path.string(), errno);
    return Failure(
        "the image directory " + directory.string() +
        " is in use by another smarmd: stop that one, or give each a state directory of its own");
  }
  return fd;
}

void remove_old_copies(const fs::path& directory) {
  std::error_code error;
  std::vector<fs::path> old;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".so") old.push_back(it->path());
  }
  for (const fs::path& path : old) ::unlink(path.c_str());
}

}  // namespace

std::expected<void, std::string> check_ownership(const fs::path& shown, const struct stat& status) {
  if (!trusted_owner(status.st_uid)) {
    return Failure("is owned by uid " + std::to_string(status.st_uid) +
                   ", neither root nor the daemon's user (uid " + std::to_string(::geteuid()) +
                   "): run `chown root " + shown.string() + "`");
  }
  if (status.st_mode & S_IWOTH)
    return Failure("is writable by everyone: run `chmod o-w " + shown.string() + "`");
  return {};
}

ImageStore::ImageStore(ImageStoreOptions options, fs::path directory, UniqueFd lock)
    : options_(std::move(options)),
      directory_(std::move(directory)),
      lock_(std::move(lock)),
      cancel_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

std::expected<std::unique_ptr<ImageStore>, std::string> ImageStore::open(
    ImageStoreOptions options) {
  std::error_code error;
  const fs::path directory = fs::absolute(options.state_directory, error) / "images";
  if (auto ok = prepare_directory(directory); !ok) return Failure(std::move(ok.error()));
  auto lock = take_lock(directory);
  if (!lock) return Failure(std::move(lock.error()));
  remove_old_copies(directory);
  return std::unique_ptr<ImageStore>(
      new ImageStore(std::move(options), directory, std::move(*lock)));
}

std::expected<std::optional<PrivateImage>, std::string> ImageStore::admit(
    const fs::path& source, std::optional<std::uint64_t> running) {
  struct stat before{};
  const auto from = open_source(source, options_.max_file_bytes, before);
  if (!from) return Failure(from.error());

  Temporary copy(temporary_path());
  UniqueFd to(::open(copy.path().c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!to) return failure("cannot be copied: " + copy.path().string(), errno);
  const auto hash = copy_bytes(from->get(), to.get(), options_.max_file_bytes);
  if (!hash) return Failure(hash.error());
  if (running == *hash) return std::nullopt;
  struct stat after{};
  if (::fstat(from->get(), &after) != 0 || !same_version(before, after))
    return Failure("is still being written: it is tried again when that is done");

  auto info = inspect_fd(to.get(), options_.inspect);
  if (!info) return Failure(std::move(info.error()));
  if (::fchmod(to.get(), 0500) != 0)
    return failure("cannot be copied: " + copy.path().string(), errno);
  to.reset();
  if (auto ok = probe(options_.self_exe, copy.path(), options_.probe_timeout, cancel_.get()); !ok)
    return Failure(std::move(ok.error()));

  PrivateImage image;
  image.info = std::move(*info);
  image.source = source;
  image.hash = *hash;
  image.generation = next_generation(image.info.name);
  image.path = directory_ / (image.info.name + ".g" + std::to_string(image.generation) + ".so");
  if (::rename(copy.path().c_str(), image.path.c_str()) != 0)
    return failure("cannot be copied: " + image.path.string(), errno);
  copy.keep();
  return image;
}

fs::path ImageStore::temporary_path() {
  const std::lock_guard lock(mutex_);
  return directory_ / (std::string(kTemporaryPrefix) + std::to_string(++temporaries_) + ".so");
}

std::uint64_t ImageStore::next_generation(const std::string& name) {
  const std::lock_guard lock(mutex_);
  return ++generations_[name];
}

void ImageStore::cancel_probes() {
  const std::uint64_t one = 1;
  (void)!::write(cancel_.get(), &one, sizeof one);
}

void ImageStore::remove(const PrivateImage& image) {
  if (image.path.parent_path() == directory_) ::unlink(image.path.c_str());
}

}  // namespace smarmd::plugin
