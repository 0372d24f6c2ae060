// smarmctl, the metrics endpoint and sd_notify against the real daemon.
#include "tests/integration/daemon_process.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>

using namespace integration;

namespace {

std::string tcp_exchange(const sockaddr_in& to, const std::string& request) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{std::chrono::duration_cast<std::chrono::seconds>(kPatience).count(), 0};
  REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
  REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  REQUIRE(::write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size()));
  ::shutdown(fd, SHUT_WR);
  std::string answer;
  char buffer[4096];
  for (ssize_t n; (n = ::read(fd, buffer, sizeof buffer)) > 0;)
    answer.append(buffer, static_cast<std::size_t>(n));
  ::close(fd);
  return answer;
}

std::string http_get(const std::string& address, const std::string& path) {
  const auto colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
  ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  return tcp_exchange(to, "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
}

}  // namespace

TEST_SUITE("control") {
  TEST_CASE("status and plugins, for people and for programs") {
    DaemonProcess d;
    d.install("steady");
    d.install("wrong_abi");
    d.start_ready();
    CHECK(d.ctl({"status"}).exit == 0);
    CHECK(d.ctl({"plugins"}).out.find("steady") != std::string::npos);
    const Json status = d.ctl({"--json", "status"}).json();
    CHECK(status.at("ok") == true);
    const Json result = status.at("result");
    CHECK(result.at("state") == "running");
    CHECK(result.at("pid") == d.pid());
    CHECK(result.at("workers").size() == 2);
    CHECK(result.at("blocking_threads_limit") == 64);
    CHECK(result.at("blocking_jobs_total") >= 2);  // the two files were looked into
    CHECK(result.at("plugins").at("by_state").at("running") == 1);
    CHECK(result.at("plugins").at("by_state").at("refused") == 1);
    CHECK(d.plugin("steady").at("actors") == 1);
    CHECK(d.plugin("steady").at("version") == "1.0.0");
    CHECK(d.stop() == 0);
  }

  TEST_CASE("restart gives the plugin a new pid and tells both") {
    DaemonProcess d;
    d.install("steady");
    d.start_ready();
    const std::string before = d.plugin("steady").at("pid");
    const Output human = d.ctl({"restart", "steady"});
    CHECK(human.exit == 0);
    const std::string after = d.plugin("steady").at("pid");
    CHECK(after != before);
    CHECK(human.out.find(before) != std::string::npos);
    CHECK(human.out.find(after) != std::string::npos);
    CHECK(d.ctl({"--json", "restart", "steady"}).json().at("ok") == true);
    d.wait_log("plugin.restarted", {{"plugin", "steady"}}, 2);
    CHECK(d.plugin("steady").at("restarts_in_window") == 0);
    CHECK(d.stop() == 0);
  }

  TEST_CASE("exit codes: an unknown plugin 2, an unreachable daemon 3, no answer in time 6") {
    DaemonProcess d;
    CHECK(d.ctl({"status"}).exit == 3);
    d.install("ignores_stop");
    d.start_ready();
    CHECK(d.ctl({"restart", "nobody"}).exit == 2);
    CHECK(d.ctl({"revive", "ignores_stop"}).exit == 2);
    CHECK(d.ctl({"--timeout", "0.2", "restart", "ignores_stop"}).exit == 6);
    CHECK(d.stop() == 0);
    CHECK(d.ctl({"status"}).exit == 3);
  }

  TEST_CASE("a plugin that waits for long hibernates, which shows, and stops like any other") {
    DaemonProcess d;
    d.config["runtime"]["hibernate_after_ms"] = 20;
    d.install("steady");
    d.start_ready();
    d.wait_log("plugin.log", {{"plugin", "steady"}, {"message", "steady runs"}});
    const auto asleep = [&d] {
      long n = 0;
      const Json status = d.ctl({"--json", "status"}).json().at("result");
      for (const Json& w : status.at("workers"))
        n += w.at("hibernated").get<long>() - w.at("thawed").get<long>();
      return n;
    };
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (asleep() < 1 && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(asleep() >= 1);
    CHECK(d.stop() == 0);
    CHECK(d.logged("plugin.log", {{"message", "steady stops"}}).size() == 1);
  }

  TEST_CASE("status answers when every worker is held by a loop") {
    DaemonProcess d;
    d.config["runtime"]["threads"] = 1;
    d.config["runtime"]["shutdown_ms"] = 100;
    d.install("unstoppable");
    d.start();
    d.wait_log("plugin.log", {{"plugin", "unstoppable"}});
    CHECK(d.ctl({"status"}).exit == 0);
    CHECK(d.stop() == 0);
  }

  TEST_CASE("GET /metrics counts a plugin's actors") {
    DaemonProcess d;
    d.install("family");
    d.start_ready();
    d.wait_log("plugin.log", {{"plugin", "family"}});
    const std::string address =
        d.ctl({"--json", "status"}).json().at("result").at("metrics_listen");
    const std::string page = http_get(address, "/metrics");
    CHECK(page.starts_with("HTTP/1.1 200"));
    CHECK(page.find("smarm_actors{plugin=\"family\"} 4") != std::string::npos);
    CHECK(page.find("smarm_blocking_threads_limit 64\n") != std::string::npos);
    CHECK(page.find("smarm_blocking_jobs_total{plugin=\"family\"} 0\n") != std::string::npos);
    CHECK(page.find("smarm_plugin_state{plugin=\"family\",state=\"running\"} 1") !=
          std::string::npos);
    CHECK(d.stop() == 0);
  }

  TEST_CASE(
      "a listening socket that the service manager passes reaches the plugin by its name; a second "
      "of that name is closed") {
    const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(::bind(listening, raw, length) == 0);
    REQUIRE(::listen(listening, 16) == 0);
    REQUIRE(::getsockname(listening, raw, &length) == 0);
    DaemonProcess d;
    const std::string echo = read_file(SMARM_BUILD_DIR "/plugins/echo/echo.so");
    REQUIRE_FALSE(echo.empty());
    d.install_bytes(echo, "echo.so");
    d.start_activated(listening, "echo:echo");
    ::close(listening);
    CHECK(d.logged("listener.refused", {{"listener", "echo"}}).size() == 1);
    CHECK(tcp_exchange(address, "hello") == "hello");
    // A new life of the plugin gets the socket again.
    CHECK(d.ctl({"restart", "echo"}).exit == 0);
    CHECK(tcp_exchange(address, "again") == "again");
    CHECK(d.stop() == 0);
  }

  TEST_CASE("sd_notify: READY once, STATUS as plugins come and go, STOPPING at the end") {
    DaemonProcess d;
    d.start_ready();
    d.wait_notification("STATUS=0 plugins running");
    d.install("steady");
    d.wait_notification("STATUS=1 plugin running");
    d.install("wrong_abi");
    d.wait_notification("STATUS=1 plugin running, 1 refused");
    CHECK(d.stop() == 0);
    const std::vector<std::string> all = d.notifications();
    CHECK(std::ranges::count_if(
              all, [](const std::string& n) { return n.find("READY=1") != n.npos; }) == 1);
    CHECK(std::ranges::count_if(
              all, [](const std::string& n) { return n.find("STOPPING=1") != n.npos; }) == 1);
  }

  TEST_CASE("a service manager that reads nothing keeps the daemon from nothing") {
    DaemonProcess d;
    d.reads_notifications = false;
    d.start_ready();
    for (int i = 0; i < 10; ++i) CHECK(d.ctl({"reload"}).exit == 0);  // two messages each
    d.signal(SIGHUP);
    d.wait_log("config.reloaded", {}, 11);
    CHECK(d.stop() == 0);
    CHECK(d.logged("daemon.stuck").empty());
    CHECK(d.logged("daemon.stopped").size() == 1);
  }

  TEST_CASE(
      "the watchdog is fed while workers make progress, and not while a loop holds the only one") {
    DaemonProcess d;
    d.config["runtime"]["threads"] = 1;
    d.config["runtime"]["shutdown_ms"] = 100;
    d.start_ready({}, {{"WATCHDOG_USEC", "400000"}});
    d.wait_notification("WATCHDOG=1");
    d.install("unstoppable");
    d.wait_log("plugin.log", {{"plugin", "unstoppable"}});
    // One more may be under way; after that a whole watchdog interval passes without one.
    const auto fed = [&] { return std::ranges::count(d.notifications(), "WATCHDOG=1"); };
    (void)d.ctl({"status"});
    auto count = fed();
    const auto end = std::chrono::steady_clock::now() + kPatience;
    auto quiet_since = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - quiet_since < 1s &&
           std::chrono::steady_clock::now() < end) {
      ::usleep(10'000);
      if (fed() != count) {
        count = fed();
        quiet_since = std::chrono::steady_clock::now();
      }
    }
    CHECK(std::chrono::steady_clock::now() < end);
    CHECK(d.stop() == 0);
  }
}
