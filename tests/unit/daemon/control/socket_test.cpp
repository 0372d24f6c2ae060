#include "daemon/control/socket.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <vector>

#include "daemon/control/connect.hpp"
#include "tests/unit/daemon/control/support.hpp"

using namespace smarmd;
using plugin::UniqueFd;
using test::TempDir;

namespace {

// What a daemon that was killed leaves behind: a socket file that nobody answers on.
void leave_stale(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.data(), path.size());
  REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

bool exists(const std::string& path) {
  return std::filesystem::exists(std::filesystem::symlink_status(path));
}

}  // namespace

TEST_CASE(
    "control socket: it is made with its mode whatever the umask, and its directory with it") {
  TempDir dir;
  const std::string path = dir / "a/b/control.sock";
  const mode_t before = ::umask(0077);
  {
    const auto file = SocketFile::bind(path, 0660);
    ::umask(before);
    REQUIRE(file.has_value());
    struct stat info{};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK(S_ISSOCK(info.st_mode));
    CHECK((info.st_mode & 0777) == 0660);
    CHECK(connect_socket(path).has_value());
  }
  CHECK_FALSE(exists(path));
}

TEST_CASE("control socket: what a dead daemon left is taken over") {
  TempDir dir;
  const std::string path = dir / "control.sock";
  leave_stale(path);
  CHECK(connect_socket(path).error() == ECONNREFUSED);
  CHECK(SocketFile::bind(path, 0660).has_value());
}

TEST_CASE("control socket: one in use is left alone, and the error names it") {
  TempDir dir;
  const std::string path = dir / "control.sock";
  const auto first = SocketFile::bind(path, 0660);
  REQUIRE(first.has_value());
  const auto second = SocketFile::bind(path, 0660);
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().find(path) != std::string::npos);
  CHECK(second.error().find("in use") != std::string::npos);
  CHECK(connect_socket(path).has_value());
}

TEST_CASE("control socket: of many who start together one wins") {
  TempDir dir;
  const std::string path = dir / "control.sock";
  leave_stale(path);
  std::vector<std::optional<SocketFile>> won(8);
  {
    std::vector<std::jthread> starters;
    for (auto& slot : won) {
      starters.emplace_back([&slot, &path] {
        if (auto file = SocketFile::bind(path, 0660)) slot.emplace(std::move(*file));
      });
    }
  }
  CHECK(std::ranges::count_if(won, [](const auto& slot) { return slot.has_value(); }) == 1);
  CHECK(connect_socket(path).has_value());
}

TEST_CASE("control socket: who may only read its directory cannot hold anybody up") {
  TempDir dir;
  const UniqueFd directory(::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(::flock(directory.get(), LOCK_EX | LOCK_NB) == 0);
  const std::string path = dir / "control.sock";
  const auto start = std::chrono::steady_clock::now();
  {
    CHECK(SocketFile::bind(path, 0660).has_value());
  }
  // Both waited for two seconds when the lock was the directory's.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
  struct stat lock{};
  REQUIRE(::stat((path + ".lock").c_str(), &lock) == 0);
  CHECK((lock.st_mode & 0777) == 0600);
}

TEST_CASE("control socket: a file that is no socket is never removed") {
  TempDir dir;
  const std::string path = dir / "control.sock";
  std::ofstream(path) << "precious";
  const auto file = SocketFile::bind(path, 0660);
  REQUIRE_FALSE(file.has_value());
  CHECK(file.error().find("not a socket") != std::string::npos);
  std::string content;
  std::getline(std::ifstream(path), content);
  CHECK(content == "precious");
}

TEST_CASE("control socket: paths that cannot be are refused in words") {
  TempDir dir;
  CHECK_FALSE(SocketFile::bind("", 0660).has_value());
  const auto too_long = SocketFile::bind(dir / std::string(120, 'x'), 0660);
  REQUIRE_FALSE(too_long.has_value());
  CHECK(too_long.error().find("107 bytes") != std::string::npos);
  std::ofstream(dir / "file") << "";
  const auto below_file = SocketFile::bind(dir / "file/control.sock", 0660);
  REQUIRE_FALSE(below_file.has_value());
  CHECK(below_file.error().find("cannot create its directory") != std::string::npos);
}

TEST_CASE("control socket: at its end it removes only its own file") {
  TempDir dir;
  const std::string path = dir / "control.sock";
  {
    const auto file = SocketFile::bind(path, 0660);
    REQUIRE(file.has_value());
    std::filesystem::remove(path);
    leave_stale(path);  // somebody else's now
  }
  CHECK(exists(path));
}
