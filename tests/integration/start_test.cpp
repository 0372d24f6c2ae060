// The command line, the configuration and the start.
#include "runtime/base/valgrind.hpp"
#include "tests/integration/echo_client.hpp"
#include "tests/runner/ring_available.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <system_error>

using namespace integration;

namespace {

// For the calling thread and its children, as a container does.
void refuse_io_uring() {
  const std::array filter = {
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{filter.size(), const_cast<sock_filter*>(filter.data())};
  REQUIRE(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  REQUIRE(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

bool has_ring(pid_t pid) {
  namespace fs = std::filesystem;
  for (const auto& fd : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    std::error_code gone;
    if (fs::read_symlink(fd.path(), gone) == "anon_inode:[io_uring]") return true;
  }
  return false;
}

}  // namespace

TEST_SUITE("start") {
  TEST_CASE("--version, --help and wrong usage") {
    const Output version = run_program({SMARMD_PROGRAM, "--version"});
    CHECK(version.exit == 0);
    CHECK(version.out.starts_with("smarmd 0."));
    const Output help = run_program({SMARMD_PROGRAM, "--help"});
    CHECK(help.exit == 0);
    for (const char* word : {"SIGHUP", "Exit codes", "Examples", "--check-config", "--probe",
                             "/etc/smarmd/smarmd.json"}) {
      CAPTURE(word);
      CHECK(help.out.find(word) != std::string::npos);
    }
    CHECK(help.out.find("--probe-child") == std::string::npos);
    CHECK(run_program({SMARMD_PROGRAM, "--nonsense"}).exit == 2);
    CHECK(run_program({SMARMD_PROGRAM, "--config"}).exit == 2);
  }

  TEST_CASE("--check-config says ok, or every error with its pointer, and starts nothing") {
    DaemonProcess d;
    d.write_config();
    const std::string file = d.config_file().native();
    const Output good = run_program({SMARMD_PROGRAM, "--check-config", "--config", file});
    CHECK(good.exit == 0);
    CHECK(good.out.starts_with("ok"));
    CHECK_FALSE(std::filesystem::exists(d.socket()));

    d.config["runtime"]["threds"] = 2;
    d.config["plugins"]["defaults"]["max_restarts"] = -1;
    d.config["log"]["level"] = 7;
    d.write_config();
    const Output bad = run_program({SMARMD_PROGRAM, "--check-config", "--config", file});
    CHECK(bad.exit == 4);
    CHECK(bad.out.empty());
    for (const char* part :
         {"/runtime/threds", "threads", "/plugins/defaults/max_restarts", "/log/level"}) {
      CAPTURE(part);
      CHECK(bad.err.find(part) != std::string::npos);
    }
    CHECK(std::ranges::count(bad.err, '\n') == 3);

    d.write_config_text("{ \"runtime\": { ");
    const Output broken = run_program({SMARMD_PROGRAM, "--check-config", "--config", file});
    CHECK(broken.exit == 4);
    CHECK(broken.err.starts_with(file));
  }

  TEST_CASE(
      "a configuration that is not there or not right ends the start with one clear line and exit "
      "4") {
    DaemonProcess d;
    const Output missing =
        run_program({SMARMD_PROGRAM, "--config", (d.directory() / "none.json").native()});
    CHECK(missing.exit == 4);
    CHECK(missing.err.find("none.json") != std::string::npos);
    d.write_config_text(R"({"runtime": {"threads": "two"}})");
    d.start();
    CHECK(d.wait_exit() == 4);
    CHECK(d.log_text().find("/runtime/threads") != std::string::npos);
  }

  TEST_CASE("the daemon starts, says so, runs its plugins and stops with exit 0") {
    DaemonProcess d;
    d.install("steady");
    d.start_ready();
    const Json started = d.wait_log("plugin.started", {{"plugin", "steady"}});
    CHECK(started.at("actor").get<std::string>().find('.') != std::string::npos);
    CHECK(started.at("generation") == 1);
    CHECK(
        d.wait_log("plugin.log", {{"plugin", "steady"}, {"message", "steady runs"}}).at("actor") ==
        started.at("actor"));
    CHECK(d.logged("daemon.ready").size() == 1);
    d.wait_notification("READY=1");
    d.wait_notification("STATUS=1 plugin running");
    CHECK(d.stop() == 0);
    CHECK(d.logged("plugin.log", {{"message", "steady stops"}}).size() == 1);
    CHECK(d.logged("daemon.stopped").size() == 1);
    CHECK_FALSE(std::filesystem::exists(d.socket()));
    d.notifications();
    CHECK(std::ranges::any_of(d.notifications(),
                              [](const std::string& n) { return n.find("STOPPING=1") != n.npos; }));
  }

  TEST_CASE("io_uring asked for: it is what serves, and status shows it") {
    if (const std::string why = test::no_ring(); !why.empty()) {
      std::printf("SKIP: io_uring asked for: it is what serves, and status shows it: %s\n",
                  why.c_str());
      return;
    }
    DaemonProcess d;
    const std::uint16_t port = install_echo(d);
    d.config["runtime"]["io_backend"] = "io_uring";
    d.start_ready();
    CHECK(d.ctl({"--json", "status"}).json().at("result").at("io_backend") == "io_uring");
    CHECK(d.logged("runtime.io_fallback").empty());
    CHECK(EchoClient(d, port).answers());
    CHECK(has_ring(d.pid()));
    CHECK(d.stop() == 0);
  }

  TEST_CASE("io_uring where it is forbidden: one warning that says why, and epoll is taken") {
    DaemonProcess d;
    d.config["runtime"]["io_backend"] = "io_uring";
    // What a thread is refused, its children are.
    std::async(std::launch::async, [&d] {
      refuse_io_uring();
      d.start_ready();
    }).get();
    CHECK_FALSE(has_ring(d.pid()));
    const std::vector<Json> warned = d.logged("runtime.io_fallback", {{"wanted", "io_uring"}});
    REQUIRE(warned.size() == 1);
    CHECK(warned[0].at("level") == "warn");
    const auto message = warned[0].at("message").get<std::string>();
    CHECK(message.find("/runtime/io_backend") != message.npos);
    // A daemon built for memcheck does not ask the kernel.
    CHECK(message.find(SMARM_VALGRIND ? "memcheck" : "kernel.io_uring_disabled") != message.npos);
    CHECK(d.ctl({"--json", "status"}).json().at("result").at("io_backend") == "epoll");
    CHECK(d.stop() == 0);
  }

  TEST_CASE("READY comes after the plugins: a hanging one holds it up, and is told apart") {
    DaemonProcess d;
    d.install("steady");
    d.install("hangs_in_static_init");
    d.start_ready();
    const std::vector<Json> log = d.log();
    const auto position = [&](const char* event) {
      return std::ranges::find_if(log,
                                  [&](const Json& r) { return r.value("event", "") == event; }) -
             log.begin();
    };
    CHECK(position("plugin.refused") < position("daemon.ready"));
    CHECK(position("plugin.started") < position("plugin.refused"));
    CHECK(d.stop() == 0);
  }

  TEST_CASE("a plugin directory that does not exist is a warning; it is watched until it appears") {
    DaemonProcess d;
    std::filesystem::remove(d.plugins());
    d.start_ready();
    CHECK(d.logged("directory.missing").size() == 1);
    CHECK(d.log_text().find(d.plugins().native()) != std::string::npos);
    std::filesystem::create_directory(d.plugins());
    d.install("steady");
    d.wait_log("plugin.started", {{"plugin", "steady"}});
    CHECK(d.stop() == 0);
  }

  TEST_CASE("--plugins takes the place of the configured directories") {
    DaemonProcess d;
    d.config["plugins"]["directory"] = (d.directory() / "elsewhere").native();
    d.install("steady");
    d.start_ready({"--plugins", d.plugins().native()});
    CHECK(d.plugin("steady").at("state") == "running");
    CHECK(d.stop() == 0);
  }

  TEST_CASE("a metrics port in use is one line, and the daemon goes on") {
    DaemonProcess first, second;
    first.start_ready();
    const std::string address =
        first.ctl({"--json", "status"}).json().at("result").at("metrics_listen");
    second.config["metrics"]["listen"] = address;
    second.start_ready();
    const Json failed = second.wait_log("metrics.failed");
    CHECK(failed.at("message").get<std::string>().find(address) != std::string::npos);
    CHECK(second.ctl({"status"}).exit == 0);
    CHECK(second.stop() == 0);
    CHECK(first.stop() == 0);
  }

  TEST_CASE("a second daemon with the same state or socket is refused, and the first goes on") {
    DaemonProcess first, same_socket, same_state;
    first.start_ready();
    same_socket.config["control"]["socket"] = first.socket().native();
    same_socket.start();
    CHECK(same_socket.wait_exit() == 1);
    CHECK(same_socket.log_text().find(first.socket().native()) != std::string::npos);
    const std::string state = (first.directory() / "state").native();
    same_state.config["plugins"]["state_directory"] = state;
    same_state.start();
    CHECK(same_state.wait_exit() == 1);
    CHECK(same_state.log_text().find(state + "/images is in use") != std::string::npos);
    CHECK(first.ctl({"status"}).exit == 0);
    CHECK(first.stop() == 0);
  }
}
