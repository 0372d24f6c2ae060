// Plugins that fault, in the real daemon: each ends itself, and the daemon and its neighbours go
// on.
#include "tests/integration/daemon_process.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

using namespace integration;

// Under a sanitizer its own handlers report every fault and end the process.
#if defined(__SANITIZE_ADDRESS__)
#define FAULT_CASE(name) TEST_CASE(name* doctest::skip())
#else
#define FAULT_CASE(name) TEST_CASE(name)
#endif

namespace {

struct FaultyPlugin {
  const char* name;
  const char* reason;  // how it begins
  const char* type;
};
const FaultyPlugin kFaulty[] = {
    {"overflow", "stack overflow: used ", "smarm::StackOverflow"},
    {"null_read", "SIGSEGV: access to address 0x0 in null_read.g1.so+0x", "smarm::Fault"},
    {"null_call", "SIGSEGV: call of address 0x0 in null_call.g1.so+0x", "smarm::Fault"},
    {"div_zero", "SIGFPE (arithmetic) in div_zero.g1.so+0x", "smarm::Fault"},
    {"abort", "abort() was called in abort.g1.so+0x", "smarm::Fault"},
};

void give_policy(DaemonProcess& d, const std::string& plugin) {
  d.config["plugins"]["overrides"][plugin] = {
      {"max_restarts", 2}, {"window_s", 60}, {"backoff_ms", {10, 50}}};
}

// A connection to the echo plugin that stays open.
class EchoClient {
 public:
  explicit EchoClient(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
    const timeval patience{20, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~EchoClient() { ::close(fd_); }
  EchoClient(const EchoClient&) = delete;
  EchoClient& operator=(const EchoClient&) = delete;

  bool answers() {
    char back[5] = {};
    return ::send(fd_, "hello", 5, MSG_NOSIGNAL) == 5 && ::recv(fd_, back, 5, MSG_WAITALL) == 5 &&
           std::memcmp(back, "hello", 5) == 0;
  }

 private:
  int fd_;
};

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&at), size) == 0);
  REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) == 0);
  ::close(fd);
  return ntohs(at.sin_port);
}

}  // namespace

TEST_SUITE("faults") {
  FAULT_CASE("each fault is its plugin's own: restarts, quarantine, a record; echo answers on") {
    DaemonProcess d;
    const std::uint16_t port = free_port();
    d.config["plugins"]["overrides"]["echo"]["config"] = {
        {"listen", "127.0.0.1:" + std::to_string(port)}};
    for (const FaultyPlugin& p : kFaulty) give_policy(d, p.name);
    const std::string echo = read_file(SMARM_BUILD_DIR "/plugins/echo/echo.so");
    REQUIRE_FALSE(echo.empty());
    d.install_bytes(echo, "echo.so");
    d.start_ready();
    const std::string neighbour = d.plugin("echo").at("pid");
    EchoClient client(port);
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
      }
      CHECK(d.plugin(p.name).at("state") == "quarantined");
    }
    CHECK(d.plugin("echo").at("pid") == neighbour);
    CHECK(client.answers());
    CHECK(d.stop() == 0);
  }

  FAULT_CASE("a wild address ends the daemon with a report; on_fault panic makes it the plugin's") {
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
      d.start_ready();
      d.install(name);
      CHECK(d.wait_exit() == 128 + signal);
      CHECK(d.log_text().find(std::string("(") + name + ".g1.so+0x") != std::string::npos);
    }
  }
}
