#include "daemon/supervision/service_loop.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

using namespace smarmd;
using namespace std::chrono_literals;

namespace {

template <class Done>
bool soon(Done done) {
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

// The service manager's side of sd_notify; the environment names it while it lives.
class Manager {
 public:
  Manager() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "smarmd-notify-XXXXXX").native();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern;
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = (directory_ / "s").native();
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  ~Manager() {
    ::unsetenv("NOTIFY_SOCKET");
    ::unsetenv("WATCHDOG_USEC");
    ::close(fd_);
    std::filesystem::remove_all(directory_);
  }
  const std::vector<std::string>& received() {
    char buffer[512];
    for (ssize_t n; (n = ::recv(fd_, buffer, sizeof buffer, 0)) >= 0;)
      all_.emplace_back(buffer, static_cast<std::size_t>(n));
    return all_;
  }

 private:
  std::filesystem::path directory_;
  int fd_ = -1;
  std::vector<std::string> all_;
};

struct Seen {
  std::atomic<int> stops{0}, kills{0}, reloads{0}, overdue{0};
  std::atomic<std::uint64_t> beat{0};

  std::unique_ptr<ServiceLoop> start() {
    auto loop = ServiceLoop::start({.stop = [this](ServiceLoop&) { ++stops; },
                                    .kill = [this](ServiceLoop&) { ++kills; },
                                    .reload = [this] { ++reloads; },
                                    .heartbeat = [this] { return beat.load(); },
                                    .overdue = [this] { ++overdue; }});
    REQUIRE(loop.has_value());
    return std::move(*loop);
  }
};

}  // namespace

TEST_CASE("the first SIGTERM or SIGINT is a stop, further ones are kills, SIGHUP is a reload") {
  sigset_t before;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  block_service_signals();
  Seen seen;
  {
    const auto loop = seen.start();
    ::kill(::getpid(), SIGHUP);
    CHECK(soon([&] { return seen.reloads == 1; }));
    ::kill(::getpid(), SIGTERM);
    CHECK(soon([&] { return seen.stops == 1; }));
    ::kill(::getpid(), SIGTERM);
    CHECK(soon([&] { return seen.kills == 1; }));
    ::kill(::getpid(), SIGINT);
    CHECK(soon([&] { return seen.kills == 2; }));
  }
  CHECK(seen.stops == 1);
  CHECK(seen.reloads == 1);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("notifications arrive in order, the queued ones too when the loop ends") {
  Manager manager;
  Seen seen;
  {
    const auto loop = seen.start();
    for (int i = 0; i < 8; ++i) loop->notify("STATUS=" + std::to_string(i));
  }
  const auto all = manager.received();
  REQUIRE(all.size() == 8);
  for (int i = 0; i < 8; ++i)
    CHECK(all[static_cast<std::size_t>(i)] == "STATUS=" + std::to_string(i));
}

TEST_CASE("the watchdog is fed while the heart beats and not when it stands still") {
  Manager manager;
  ::setenv("WATCHDOG_USEC", "20000", 1);
  Seen seen;
  const auto loop = seen.start();
  REQUIRE(loop->watchdog_interval() == 10ms);
  CHECK(soon([&] {
    ++seen.beat;
    return manager.received().size() >= 3;
  }));
  // Ten intervals without a beat: at most the last one is still to be told.
  const std::size_t fed = manager.received().size();
  std::this_thread::sleep_for(100ms);
  CHECK(manager.received().size() <= fed + 1);
}

TEST_CASE("end_by calls overdue when the time is over, and a later call moves the limit") {
  Seen seen;
  const auto loop = seen.start();
  CHECK_FALSE(loop->watchdog_interval().has_value());
  loop->end_by(1h);
  loop->end_by(1ms);
  CHECK(soon([&] { return seen.overdue == 1; }));
}
