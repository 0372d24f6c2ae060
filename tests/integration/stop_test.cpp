// The shutdown.
#include "tests/integration/daemon_process.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string>

using namespace integration;

#if SMARM_VALGRIND
#define STDERR_CASE(name)           \
  TEST_CASE(name* doctest::skip() * \
            doctest::description("Valgrind itself waits until its words on stderr are taken"))
#else
#define STDERR_CASE(name) TEST_CASE(name)
#endif

TEST_SUITE("stop") {
  TEST_CASE("SIGTERM stops the plugins in reverse start order and exits 0") {
    DaemonProcess d;
    d.install("steady");
    d.install("family");
    d.install("versioned_1", "v.so");
    d.start_ready();
    CHECK(d.stop() == 0);
    std::vector<std::string> started, stopped;
    for (const Json& r : d.logged("plugin.started")) started.push_back(r.at("plugin"));
    for (const Json& r : d.logged("plugin.stopped")) stopped.push_back(r.at("plugin"));
    CHECK(started.size() == 3);
    std::ranges::reverse(stopped);
    CHECK(stopped == started);
    CHECK(d.logged("daemon.stuck").empty());
  }

  TEST_CASE("SIGINT does the same") {
    DaemonProcess d;
    d.start_ready();
    d.signal(SIGINT);
    CHECK(d.wait_exit() == 0);
  }

  TEST_CASE("a plugin that ignores the stop is unwound when the time is over") {
    DaemonProcess d;
    d.config["runtime"]["shutdown_ms"] = 300;
    d.install("ignores_stop");
    d.start_ready();
    d.wait_log("plugin.log", {{"plugin", "ignores_stop"}});
    CHECK(d.stop() == 0);
    CHECK(d.logged("plugin.stopped", {{"plugin", "ignores_stop"}}).size() == 1);
    CHECK(d.logged("daemon.stuck").empty());
  }

  TEST_CASE("a second SIGTERM does not wait for the time to be over") {
    DaemonProcess d;
    d.config["runtime"]["shutdown_ms"] = 600'000;
    d.install("ignores_stop");
    d.start_ready();
    d.wait_log("plugin.log", {{"plugin", "ignores_stop"}});
    d.signal(SIGTERM);
    d.wait_log("plugin.stopping", {{"plugin", "ignores_stop"}});
    d.signal(SIGTERM);
    CHECK(d.wait_exit() == 0);
  }

  TEST_CASE("more SIGTERMs do not put the end off") {
    DaemonProcess d;
    d.config["runtime"]["shutdown_ms"] = 100;
    d.install("unstoppable");
    d.start_ready();
    d.wait_log("plugin.log", {{"plugin", "unstoppable"}});
    // The last word comes within 7.1 s; the plugin itself would end after two minutes.
    const auto end = std::chrono::steady_clock::now() + kPatience;
    d.signal(SIGTERM);
    while (d.running() && std::chrono::steady_clock::now() < end) {
      d.signal(SIGTERM);
      ::usleep(500'000);
    }
    CHECK(d.wait_exit() == 0);
  }

  TEST_CASE("what never comes to an end is named, and the daemon exits 0 all the same") {
    DaemonProcess d;
    d.config["runtime"]["shutdown_ms"] = 300;
    d.install("unstoppable");
    d.install("steady");
    d.start_ready();
    d.wait_log("plugin.log", {{"plugin", "unstoppable"}});
    CHECK(d.stop() == 0);
    CHECK(d.logged("plugin.stopped", {{"plugin", "steady"}}).size() == 1);
    const std::vector<Json> stuck = d.logged("daemon.stuck");
    REQUIRE_FALSE(stuck.empty());
    CHECK(stuck[0].at("message").get<std::string>().find("unstoppable") != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(d.socket()));
  }

  TEST_CASE(
      "SIGTERM while every worker is held by a loop: the process still ends and names who held "
      "it") {
    DaemonProcess d;
    d.config["runtime"]["threads"] = 1;
    d.config["runtime"]["shutdown_ms"] = 300;
    d.install("unstoppable");
    d.start();
    d.wait_log("plugin.started", {{"plugin", "unstoppable"}});
    d.wait_log("plugin.log", {{"plugin", "unstoppable"}});
    CHECK(d.stop() == 0);
    CHECK(d.log_text().find("daemon.stuck") != std::string::npos);
  }

  STDERR_CASE("a stderr that is full and that nobody reads does not hold up the end") {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    const std::string page(4096, 'x');
    while (::write(ends[1], page.data(), page.size()) > 0) {
    }
    REQUIRE(::fcntl(ends[1], F_SETFL, 0) == 0);
    DaemonProcess d;
    d.start({}, {}, ends[1]);
    ::close(ends[1]);
    d.wait_notification("READY=1");
    CHECK(d.stop() == 0);
    ::close(ends[0]);
  }

  TEST_CASE("SIGTERM while a file is being probed ends the probe, and nothing is called stuck") {
    DaemonProcess d;
    d.install("hangs_in_static_init");
    d.start();
    d.wait_log("plugin.found", {{"plugin", "hangs_in_static_init"}});
    CHECK(d.stop() == 0);
    CHECK(d.logged("daemon.stuck").empty());
    CHECK(d.logged("daemon.stopped").size() == 1);
  }
}
