#include "daemon/control/socket.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include "daemon/control/connect.hpp"

namespace smarmd {
namespace {

using plugin::UniqueFd;

constexpr int kBacklog = 64;
constexpr auto kLockPatience = std::chrono::seconds(2);

std::unexpected<std::string> fail(const std::string& path, const std::string& what) {
  return std::unexpected(path + ": " + what);
}

std::unexpected<std::string> fail_errno(const std::string& path, const std::string& doing,
                                        int error) {
  return fail(path, doing + ": " + std::strerror(error));
}

// Locks a file beside the socket, so that two daemons that start together do not take each other's
// socket for a dead one. The file stays; nobody else may open it, so nobody else can hold the lock.
// Going on without it after two seconds is better than not starting: it only guards against that
// race.
UniqueFd lock_start(const std::string& path) {
  UniqueFd fd(::open((path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  const auto deadline = std::chrono::steady_clock::now() + kLockPatience;
  while (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0 &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // flock has no timeout of its own
  }
  return fd;
}

// Removes a socket that nobody answers on. An error when it is in use or something else.
std::expected<void, std::string> clear_stale(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno(path, "cannot look at it", errno);
  }
  if (!S_ISSOCK(info.st_mode))
    return fail(
        path,
        "there is a file that is not a socket; remove it, or set control.socket to another path");
  const auto answered = connect_socket(path);
  if (answered || answered.error() == EAGAIN) {
    return fail(path,
                "in use: another smarmd answers on it; stop that one, or set control.socket to "
                "another path");
  }
  if (answered.error() != ECONNREFUSED && answered.error() != ENOENT) {
    return fail_errno(path, "cannot tell whether another smarmd uses it", answered.error());
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return fail_errno(path, "cannot remove the socket of a daemon that is gone", errno);
  return {};
}

std::string directory_of(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path();
  return directory.empty() ? "." : directory;
}

}  // namespace

std::expected<SocketFile, std::string> SocketFile::bind(const std::string& path, unsigned mode) {
  const auto address = unix_address(path);
  if (!address)
    return fail(path,
                path.empty()
                    ? "the path is empty"
                    : "the path is longer than 107 bytes; set control.socket to a shorter one");
  const std::string directory = directory_of(path);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return fail(path, "cannot create its directory " + directory + ": " + error.message());

  const UniqueFd lock = lock_start(path);
  if (auto cleared = clear_stale(path); !cleared) return std::unexpected(cleared.error());

  SocketFile out;
  out.listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!out.listener_) return fail_errno(path, "cannot make a socket", errno);
  // The file gets this mode less the umask: never more than it should have. chmod then gives back
  // what the umask took.
  ::fchmod(out.listener_.get(), mode);
  if (::bind(out.listener_.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) !=
      0) {
    return fail_errno(path, "cannot bind (may the daemon write to " + directory + "?)", errno);
  }
  struct stat info{};
  if (::lstat(path.c_str(), &info) == 0) out.place_ = {path, info.st_dev, info.st_ino};
  if (::chmod(path.c_str(), mode) != 0) return fail_errno(path, "cannot set its mode", errno);
  if (::listen(out.listener_.get(), kBacklog) != 0) return fail_errno(path, "cannot listen", errno);
  return out;
}

SocketFile::SocketFile(SocketFile&& other) noexcept
    : listener_(std::move(other.listener_)), place_(std::exchange(other.place_, {})) {}

SocketFile::~SocketFile() { remove(); }

void SocketFile::remove() { std::exchange(place_, {}).remove(); }

void SocketPlace::remove() const {
  struct stat info{};
  if (!path.empty() && ::lstat(path.c_str(), &info) == 0 && info.st_dev == device &&
      info.st_ino == inode)
    ::unlink(path.c_str());
}

}  // namespace smarmd
