// Plugins that fault, in the real daemon: each ends itself, and the daemon and its neighbours go
// on.
#include "tests/integration/daemon_process.hpp"
#include "tests/integration/echo_client.hpp"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string_view>

using namespace integration;

// Under a sanitizer its own handlers report every fault and end the process.
#if defined(__SANITIZE_ADDRESS__)
#define FAULT_CASE(name)            \
  TEST_CASE(name* doctest::skip() * \
            doctest::description("AddressSanitizer reports every fault by itself"))
#elif SMARM_VALGRIND
#define FAULT_CASE(name)            \
  TEST_CASE(name* doctest::skip() * \
            doctest::description("Valgrind loses its stack where a signal handler moves it"))
#else
#define FAULT_CASE(name) TEST_CASE(name)
#endif
#if defined(__SANITIZE_THREAD__)
#define WILD_CASE(name)             \
  TEST_CASE(name* doctest::skip() * \
            doctest::description("the wild address is ThreadSanitizer's shadow, which is there"))
#else
#define WILD_CASE(name) FAULT_CASE(name)
#endif

namespace {

struct FaultyPlugin {
  const char* name;
  const char* reason;  // how it begins
  const char* type;
  const char* code;  // of the source, in the line that fails
};
const FaultyPlugin kFaulty[] = {
    {"overflow", "stack overflow: used ", "smarm::StackOverflow", "descend(depth + 1)"},
    {"null_read", "SIGSEGV: access to address 0x0 in null_read.g1.so+0x", "smarm::Fault",
     "if (*nowhere"},
    {"null_call", "SIGSEGV: call of address 0x0 in null_call.g1.so+0x", "smarm::Fault",
     "nowhere();"},
    {"div_zero", "SIGFPE (arithmetic) in div_zero.g1.so+0x", "smarm::Fault", "1 / zero"},
    {"abort", "abort() was called in abort.g1.so+0x", "smarm::Fault", "std::abort()"},
};

// "/fixtures/NAME.cpp:NN", of the first line with that code.
std::string source_line(const std::string& name, std::string_view code) {
  std::ifstream source(SMARM_SOURCE_DIR "/tests/fixtures/" + name + ".cpp");
  std::string line;
  for (int n = 1; std::getline(source, line); ++n) {
    if (line.find(code) != std::string::npos)
      return "/fixtures/" + name + ".cpp:" + std::to_string(n);
  }
  return "no such line";
}

void give_policy(DaemonProcess& d, const std::string& plugin) {
  d.config["plugins"]["overrides"][plugin] = {
      {"max_restarts", 2}, {"window_s", 60}, {"backoff_ms", {10, 50}}};
}

}  // namespace

TEST_SUITE("faults") {
  FAULT_CASE("each fault is its plugin's own: restarts, quarantine, a record; echo answers on") {
    DaemonProcess d;
    const std::uint16_t port = install_echo(d);
    for (const FaultyPlugin& p : kFaulty) give_policy(d, p.name);
    d.start_ready();
    const std::string neighbour = d.plugin("echo").at("pid");
    EchoClient client(d, port);
    CHECK(client.answers());
    for (const FaultyPlugin& p : kFaulty) {
      CAPTURE(std::string(p.name));
      const Match mine = {{"plugin", p.name}};
      d.install(p.name);
      d.wait_log("plugin.quarantined", mine);
      CHECK(client.answers());
      const std::vector<Json> panics = d.logged("plugin.panicked", mine);
      REQUIRE(panics.size() == 3);
      for (const Json& panic : panics) {
        const std::string reason = panic.at("reason");
        CHECK_MESSAGE(reason.find(p.reason) == 0, reason);
        CHECK(reason.find("abandoned") == std::string::npos);
        CHECK(panic.at("type") == p.type);
        const std::string backtrace = panic.at("backtrace");
        CHECK_MESSAGE(backtrace.find(std::string(p.name) + ".g1.so") != std::string::npos,
                      backtrace);
        CHECK_MESSAGE(backtrace.find(source_line(p.name, p.code)) != std::string::npos, backtrace);
        CHECK_MESSAGE(backtrace.find("actor_main") == std::string::npos, backtrace);
      }
      CHECK(d.plugin(p.name).at("state") == "quarantined");
    }
    CHECK(d.plugin("echo").at("pid") == neighbour);
    CHECK(client.answers());
    CHECK(d.stop() == 0);
  }

  TEST_CASE("actors that panic are told of, ten a minute; the plugin goes on") {
    DaemonProcess d;
    d.install("panics_in_children");
    d.start_ready();
    const Match mine = {{"plugin", "panics_in_children"}};
    d.wait_log("plugin.log", {{"message", "all have ended"}});
    d.wait_log("plugin.actor_panicked", mine, 10);
    const std::vector<Json> records = d.logged("plugin.actor_panicked", mine);
    CHECK(records.size() == 10);
    for (std::size_t i = 0; i < records.size(); ++i) {
      CHECK(records[i].at("reason") == "child " + std::to_string(i));
      CHECK(records[i].at("type") == "std::runtime_error");
      CHECK(records[i].at("name") == "child");
      const std::string backtrace = records[i].at("backtrace");
      CHECK_MESSAGE(backtrace.find("panics_in_children.cpp:8 (") != backtrace.npos, backtrace);
    }
    CHECK(d.plugin("panics_in_children").at("state") == "running");
    CHECK(d.logged("plugin.panicked", mine).empty());
    CHECK(d.stop() == 0);
    CHECK(d.logged("plugin.actor_panicked", mine).size() == 10);  // nor is one that was killed told
  }

  BLOCKED_CASE(
      "a plugin that blocks more threads than there are workers is named; echo answers on") {
    DaemonProcess d;
    const std::uint16_t port = free_port();
    d.config["runtime"]["threads"] = 2;
    d.config["plugins"]["overrides"]["echo"]["config"] = {
        {"listen", "127.0.0.1:" + std::to_string(port)}};
    d.install_bytes(read_file(SMARM_BUILD_DIR "/plugins/echo/echo.so"), "echo.so");
    d.start_ready();
    EchoClient client(d, port);
    CHECK(client.answers());
    d.install("blocks");
    const Match mine = {{"plugin", "blocks"}};
    const Json record = d.wait_log("plugin.blocked", mine);
    CHECK(client.answers());
    CHECK(record.at("name") == "sleeper");
    CHECK(record.at("system_call") == "clock_nanosleep");
    const std::string backtrace = record.at("backtrace");
    CHECK_MESSAGE(backtrace.find("blocks.g1.so") != std::string::npos, backtrace);
    d.wait_log("plugin.log", mine);  // they have slept: five were blocked
    CHECK(client.answers());
    CHECK(d.logged("plugin.blocked", mine).size() == 1);
    CHECK(d.ctl({"--json", "status"}).json().at("result").at("blocked_total") >= 5);
    CHECK(d.plugin("blocks").at("blocked") >= 5);
    CHECK(d.plugin("echo").at("blocked") == 0);
    CHECK(d.stop() == 0);
  }

  WILD_CASE("a wild address ends the daemon with a report; on_fault panic makes it the plugin's") {
    {
      DaemonProcess d;
      d.start_ready();
      d.install("wild_write");
      CHECK(d.wait_exit() == 128 + SIGSEGV);
      const std::string log = d.log_text();
      CHECK(log.find("smarm: SIGSEGV, address 0x123456789000, code 0x") != std::string::npos);
      CHECK(log.find("(wild_write.g1.so+0x") != std::string::npos);
    }
    DaemonProcess d;
    d.config["runtime"]["on_fault"] = "panic";
    give_policy(d, "wild_write");
    d.start_ready();
    d.install("wild_write");
    d.wait_log("plugin.quarantined", {{"plugin", "wild_write"}});
    CHECK(d.stop() == 0);
  }

  FAULT_CASE("on_fault abort: the daemon ends by the plugin's signal") {
    for (const auto& [name, signal] :
         {std::pair{"null_read", SIGSEGV}, {"div_zero", SIGFPE}, {"abort", SIGABRT}}) {
      CAPTURE(std::string(name));
      DaemonProcess d;
      d.config["runtime"]["on_fault"] = "abort";
      // ThreadSanitizer's own handlers, which were there first, would end the process.
      d.start_ready({}, {{"TSAN_OPTIONS", "handle_segv=0:handle_sigfpe=0"}});
      d.install(name);
      CHECK(d.wait_exit() == 128 + signal);
      CHECK(d.log_text().find(std::string("(") + name + ".g1.so+0x") != std::string::npos);
    }
  }
}
