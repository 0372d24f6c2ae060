#include "daemon/supervision/service_loop.hpp"

#include "tests/unit/daemon/supervision/service_manager.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace smarmd;
using namespace std::chrono_literals;
using test::eventually;
using test::ServiceManager;

namespace {

constexpr auto kInterval = 100ms;  // half of the watchdog's time

// The environment of a service: nothing but what the test says, whoever runs it.
class Environment {
 public:
  explicit Environment(const char* notify_socket = nullptr, const char* watchdog_usec = nullptr) {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) {
      const char* value = std::getenv(name);
      before_.emplace_back(name, value ? std::optional<std::string>(value) : std::nullopt);
      ::unsetenv(name);
    }
    if (notify_socket) ::setenv("NOTIFY_SOCKET", notify_socket, 1);
    if (watchdog_usec) ::setenv("WATCHDOG_USEC", watchdog_usec, 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    for (const auto& [name, value] : before_) {
      if (value) {
        ::setenv(name.c_str(), value->c_str(), 1);
      } else {
        ::unsetenv(name.c_str());
      }
    }
  }

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

// SIGTERM and the others wait for the loop, as in the daemon.
class Signals {
 public:
  Signals() {
    ::pthread_sigmask(SIG_SETMASK, nullptr, &before_);
    block_service_signals();
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
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
  const Signals signals;
  const Environment environment;
  Seen seen;
  {
    const auto loop = seen.start();
    ::kill(::getpid(), SIGHUP);
    CHECK(eventually([&] { return seen.reloads == 1; }));
    ::kill(::getpid(), SIGTERM);
    CHECK(eventually([&] { return seen.stops == 1; }));
    ::kill(::getpid(), SIGTERM);
    CHECK(eventually([&] { return seen.kills == 1; }));
    ::kill(::getpid(), SIGINT);
    CHECK(eventually([&] { return seen.kills == 2; }));
  }
  CHECK(seen.stops == 1);
  CHECK(seen.reloads == 1);
}

TEST_CASE("notifications arrive in order, the queued ones too when the loop ends") {
  ServiceManager manager;
  const Environment environment(manager.address().c_str());
  Seen seen;
  std::vector<std::string> sent;
  {
    const auto loop = seen.start();
    for (int i = 0; i < 4; ++i) loop->notify(sent.emplace_back("STATUS=" + std::to_string(i)));
  }
  CHECK(manager.received() == sent);
}

TEST_CASE("a manager that reads nothing keeps the loop neither from signals nor from its end") {
  ServiceManager manager;
  const Signals signals;
  const Environment environment(manager.address().c_str());
  Seen seen;
  {
    const auto loop = seen.start();
    for (int i = 0; i < 100; ++i) {
      loop->notify("RELOADING=1");
      loop->notify("READY=1\nSTATUS=" + std::to_string(i));
    }
    ::kill(::getpid(), SIGTERM);
    CHECK(eventually([&] { return seen.stops == 1; }));
    loop->notify("STOPPING=1");
    loop->end_by(1ms);
    CHECK(eventually([&] { return seen.overdue == 1; }));
    // It reads again, and hears how things stand.
    CHECK(eventually([&] {
      const auto& all = manager.received();
      return !all.empty() && all.back() == "STOPPING=1";
    }));
    const auto& all = manager.received();
    CHECK(std::ranges::count(all, "READY=1\nSTATUS=99") == 1);
  }
}

TEST_CASE("the watchdog is fed while the heart beats and not when it stands still") {
  ServiceManager manager;
  const Environment environment(manager.address().c_str(), "200000");
  Seen seen;
  const auto loop = seen.start();
  REQUIRE(loop->watchdog_interval() == kInterval);
  CHECK(eventually([&] {
    ++seen.beat;
    return manager.received().size() >= 3;
  }));
  // Five intervals without a beat: at most the last one is still to be told.
  const std::size_t fed = manager.received().size();
  std::this_thread::sleep_for(5 * kInterval);
  CHECK(manager.received().size() <= fed + 1);
}

TEST_CASE("end_by calls overdue when the time is over; a later call only brings the limit nearer") {
  const Environment environment;
  Seen seen;
  const auto loop = seen.start();
  CHECK_FALSE(loop->watchdog_interval().has_value());
  loop->end_by(1h);
  loop->end_by(200ms);
  loop->end_by(1h);
  CHECK(eventually([&] { return seen.overdue == 1; }));
}
