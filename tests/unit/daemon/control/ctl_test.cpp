#include "daemon/ctl/cli.hpp"

#include <doctest/doctest.h>

#include <smarm/smarm.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <atomic>
#include <cstring>
#include <sstream>
#include <vector>

#include "daemon/control/backend.hpp"
#include "daemon/control/connect.hpp"
#include "daemon/control/socket.hpp"
#include "daemon/log/logger.hpp"
#include "tests/unit/daemon/control/support.hpp"

using namespace smarmd;
using nlohmann::json;
using plugin::UniqueFd;
using test::RawClient;
using test::TempDir;

namespace {

struct FakeBackend : ControlBackend {
  DaemonSnapshot snapshot() const override {
    DaemonSnapshot daemon;
    daemon.version = SMARM_VERSION;
    daemon.pid = 4242;
    daemon.state = "running";
    daemon.started_ms = 1;
    PluginSnapshot echo;
    echo.name = "echo";
    echo.state = "running";
    echo.last_backtrace = std::string("frame one\nframe two");
    daemon.plugins = {echo};
    return daemon;
  }
  void reload(Reply reply) override {
    if (reload_mode == "good") return answer_reload(reply, {"/log/level"}, {});
    if (reload_mode == "needs restart") return answer_reload(reply, {}, {"/runtime/threads"});
    if (reload_mode == "bad")
      return reply.fail({std::string(codes::kInvalidConfig),
                         "the configuration is invalid; nothing was changed",
                         "",
                         {"smarmd.json:3:1: /x: unknown key"}});
    kept = std::make_unique<Reply>(std::move(reply));  // never answered: the time runs out
  }
  void restart(std::string name, Reply reply) override {
    reply.ok(action_result(snapshot().plugins[0], "restarted " + name));
  }
  void revive(std::string name, Reply reply) override {
    reply.fail(codes::kRefused, name + " is running, not quarantined");
  }

  std::string reload_mode = "good";
  std::unique_ptr<Reply> kept;
};

struct Result {
  int exit;
  std::string out, err;
};

Result run(std::vector<std::string> arguments) {
  std::vector<const char*> argv = {"smarmctl"};
  for (const auto& argument : arguments) argv.push_back(argument.c_str());
  std::ostringstream out, err;
  const int exit = run_smarmctl(static_cast<int>(argv.size()), argv.data(), out, err);
  return {exit, out.str(), err.str()};
}

struct Fixture {
  explicit Fixture(const std::string& version = SMARM_VERSION, Logger* logger = nullptr) {
    ControlServerOptions options;
    options.path = path;
    options.version = version;
    auto started = ControlServer::start(options, make_handler(backend), logger);
    REQUIRE(started.has_value());
    server = std::move(*started);
  }
  Result ctl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--socket", path});
    return run(std::move(arguments));
  }

  TempDir dir;
  std::string path = dir / "control.sock";
  FakeBackend backend;
  std::unique_ptr<ControlServer> server;
};

// Something on a socket that is not smarmd, or a hung one: gives one line to one client, or
// nothing.
struct Impostor {
  explicit Impostor(std::string line)
      : file(*SocketFile::bind(path, 0660)),
        listener(file.take_listener()),
        thread([this, line] { serve(line); }) {}
  void serve(const std::string& line) {
    pollfd waiting{listener.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 20'000) <= 0) return;
    RawClient client(UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
    client.line();
    if (line.empty()) {
      client.rest();  // until the other side gives up
    } else {
      client.send(line);
    }
  }

  TempDir dir;
  std::string path = dir / "control.sock";
  SocketFile file;
  UniqueFd listener;
  std::jthread thread;
};

// As another user, who is not allowed to: this thread only, when the tests run as root. A root that
// cannot become somebody else (a container without the capability) leaves it out.
template <typename F>
void without_rights(F f) {
  bool dropped = true;
  std::jthread([&] {
    if (::geteuid() == 0) {
      dropped = ::syscall(SYS_setresgid, -1, 65534, -1) == 0 &&
                ::syscall(SYS_setgroups, 0, nullptr) == 0 &&
                ::syscall(SYS_setresuid, -1, 65534, -1) == 0;
    }
    if (dropped) f();
  }).join();
  if (!dropped) MESSAGE("this root cannot become another user; nothing to see");
}

}  // namespace

TEST_CASE("smarmctl: every command is answered for people") {
  Fixture fixture;
  const Result status = fixture.ctl({"status"});
  CHECK(status.exit == 0);
  CHECK(status.err.empty());
  CHECK(status.out.starts_with("smarmd " SMARM_VERSION " is running, pid 4242, up "));
  CHECK(fixture.ctl({"plugins"}).out.find("echo") != std::string::npos);
  CHECK(fixture.ctl({"plugin", "echo"}).out.find("backtrace\n  frame one\n  frame two\n") !=
        std::string::npos);
  CHECK(fixture.ctl({"reload"}).out == "reloaded: /log/level\n");
  CHECK(fixture.ctl({"restart", "echo"}).out == "restarted echo\n");
  CHECK(fixture.ctl({"version"}).out == "smarmctl " SMARM_VERSION "\nsmarmd " SMARM_VERSION
                                        " (pid 4242)\n");
}

TEST_CASE("smarmctl: --json prints one document, before or after the command") {
  Fixture fixture;
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"--json", "plugins"}, {"plugins", "--json"}}) {
    const Result result = fixture.ctl(arguments);
    CHECK(result.exit == 0);
    const json document = json::parse(result.out);
    CHECK(document["v"] == 1);
    CHECK(document["ok"] == true);
    CHECK(document["version"] == SMARM_VERSION);
    CHECK(document["result"]["plugins"][0]["name"] == "echo");
  }
  CHECK(json::parse(fixture.ctl({"--json", "plugin", "echo"}).out)["result"]["state"] == "running");
  CHECK(json::parse(fixture.ctl({"--json", "status"}).out)["result"]["plugins"]["total"] == 1);
  CHECK(json::parse(fixture.ctl({"--json", "version"}).out)["smarmctl"] == SMARM_VERSION);
  const Result bad = fixture.ctl({"--json", "plugin", "ecoh"});
  CHECK(bad.exit == 2);
  CHECK(bad.err.empty());
  const json error = json::parse(bad.out);
  CHECK(error["ok"] == false);
  CHECK(error["exit"] == 2);
  CHECK(error["error"]["code"] == "unknown_plugin");
}

TEST_CASE("smarmctl: a plugin that is not there is named, with the nearest that is") {
  Fixture fixture;
  for (const char* command : {"plugin", "restart", "revive"}) {
    const Result result = fixture.ctl({command, "ecoh"});
    CHECK(result.exit == 2);
    CHECK(result.out.empty());
    CHECK(result.err.find("there is no plugin \"ecoh\"") != std::string::npos);
    CHECK(result.err.find("did you mean \"echo\"?") != std::string::npos);
  }
}

TEST_CASE("smarmctl: the result of a reload is its exit code") {
  Fixture fixture;
  fixture.backend.reload_mode = "needs restart";
  const Result later = fixture.ctl({"reload"});
  CHECK(later.exit == 5);
  CHECK(later.out.find("needs a restart of smarmd: /runtime/threads") != std::string::npos);
  const Result accepted = fixture.ctl({"reload", "--needs-restart-ok"});
  CHECK(accepted.exit == 0);
  CHECK(accepted.out == later.out);
  CHECK(run({"status", "--needs-restart-ok"}).exit == 2);
  fixture.backend.reload_mode = "bad";
  CHECK(fixture.ctl({"reload", "--needs-restart-ok"}).exit == 4);
  const Result bad = fixture.ctl({"reload"});
  CHECK(bad.exit == 4);
  CHECK(bad.err.find("smarmd.json:3:1: /x: unknown key") != std::string::npos);
  fixture.backend.reload_mode = "never";
  const Result never = fixture.ctl({"--timeout", "0.05", "reload"});
  CHECK(never.exit == 6);
  CHECK(never.err.find("within 50 ms") != std::string::npos);
}

TEST_CASE("smarmctl: what the plugin's state does not allow is refused with the reason") {
  Fixture fixture;
  const Result result = fixture.ctl({"revive", "echo"});
  CHECK(result.exit == 2);
  CHECK(result.err == "smarmctl: echo is running, not quarantined\n");
}

TEST_CASE("smarmctl: usage errors end with 2 and say what is wrong") {
  CHECK(run({}).exit == 2);
  CHECK(run({"--nonsense", "status"}).exit == 2);
  CHECK(run({"restart"}).exit == 2);
  CHECK(run({"status", "extra"}).exit == 2);
  CHECK(run({"--timeout", "0", "status"}).exit == 2);
  CHECK(run({"--timeout", "soon", "status"}).exit == 2);
  const Result misspelt = run({"restrat", "echo"});
  CHECK(misspelt.exit == 2);
  CHECK(misspelt.err.find("did you mean \"restart\"?") != std::string::npos);
  CHECK(run({"--timeout", "5", "xyzzy"}).err.find("there is no command \"xyzzy\"") !=
        std::string::npos);
  CHECK(misspelt.out.empty());
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--bogus"}, {"--bogus", "status"}, {"status", "--bogus"}}) {
    CHECK(run(words).exit == 2);
    CHECK(run(words).err.starts_with("smarmctl: there is no option \"--bogus\"\n"));
  }
  const Result document = run({"--json", "restrat"});
  CHECK(document.exit == 2);
  CHECK(document.err.empty());
  const json error = json::parse(document.out)["error"];
  CHECK(error["code"] == "bad_request");
  CHECK(error["message"] == "there is no command \"restrat\", did you mean \"restart\"?");
}

TEST_CASE("smarmctl: --help teaches with examples and exit codes, --version is one line") {
  const Result help = run({"--help"});
  CHECK(help.exit == 0);
  for (const char* part : {"Examples:", "smarmctl reload", "Exit codes:", "revive", "--socket",
                           "--timeout", "--json"}) {
    CAPTURE(part);
    CHECK(help.out.find(part) != std::string::npos);
  }
  CHECK(run({"restart", "--help"}).out.find("NAME") != std::string::npos);
  CHECK(run({"--version"}).out == "smarmctl " SMARM_VERSION "\n");
}

TEST_CASE("smarmctl: a daemon that is not there is unreachable, and the message names the socket") {
  TempDir dir;
  const std::string path = dir / "control.sock";
  const Result absent = run({"--socket", path, "status"});
  CHECK(absent.exit == 3);
  CHECK(absent.err.find(path) != std::string::npos);
  CHECK(absent.err.find("--socket") != std::string::npos);
  {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  const Result dead = run({"--socket", path, "status"});
  CHECK(dead.exit == 3);
  CHECK(dead.err.find("nobody answers") != std::string::npos);
  CHECK(run({"--socket", std::string(200, 'x'), "status"}).exit == 3);
  const Result document = run({"--json", "--socket", path, "status"});
  CHECK(document.exit == 3);
  CHECK(json::parse(document.out)["error"]["code"] == "unreachable");
}

TEST_CASE("smarmctl: who may not use the socket learns which group may") {
  Fixture fixture;
  REQUIRE(::chmod(fixture.dir.path().c_str(), 0755) == 0);
  REQUIRE(::chmod(fixture.path.c_str(), ::geteuid() == 0 ? 0660 : 0) == 0);
  without_rights([&] {
    const Result result = fixture.ctl({"status"});
    CHECK(result.exit == 3);
    CHECK(result.err.find("permission denied") != std::string::npos);
    CHECK(result.err.find("belongs to the group ") != std::string::npos);
  });
  REQUIRE(::chmod(fixture.dir.path().c_str(), ::geteuid() == 0 ? 0700 : 0) == 0);
  without_rights([&] {
    CHECK(fixture.ctl({"status"}).err.find("no access to the directory") != std::string::npos);
  });
  REQUIRE(::chmod(fixture.dir.path().c_str(), 0700) == 0);
}

TEST_CASE("smarmctl: a hung daemon is a timeout, something else on the socket is unreachable") {
  {
    Impostor hung("");
    const Result result = run({"--socket", hung.path, "--timeout", "0.01", "status"});
    CHECK(result.exit == 6);
    CHECK(result.err.find(hung.path) != std::string::npos);
  }
  for (const char* line :
       {"HTTP/1.1 400 Bad Request\r\n", "{}\n", "{\"ok\":true}\n", "{\"ok\":1,\"exit\":\"x\"}\n"}) {
    Impostor other(line);
    const Result result = run({"--socket", other.path, "status"});
    CHECK(result.exit == 3);
    CHECK(result.err.find("not smarmd") != std::string::npos);
  }
  Impostor short_one("{\"v\":1");
  CHECK(run({"--socket", short_one.path, "status"}).err.find("hung up") != std::string::npos);
}

TEST_CASE("smarmctl: a skew between the versions is named on stderr and changes nothing else") {
  Fixture fixture("9.9.9");
  const Result result = fixture.ctl({"--json", "plugins"});
  CHECK(result.exit == 0);
  CHECK(json::parse(result.out)["version"] == "9.9.9");
  CHECK(result.err.find("smarmctl is " SMARM_VERSION " but smarmd is 9.9.9") != std::string::npos);
}

TEST_CASE("smarmctl: the socket can be named in the environment") {
  Fixture fixture;
  REQUIRE(::setenv("SMARMD_SOCKET", fixture.path.c_str(), 1) == 0);
  const Result result = run({"status"});
  ::unsetenv("SMARMD_SOCKET");
  CHECK(result.exit == 0);
}

TEST_CASE("control backend: an unknown command is refused with the nearest that exists") {
  Fixture fixture;
  auto fd = connect_socket(fixture.path);
  REQUIRE(fd.has_value());
  RawClient client(std::move(*fd));
  REQUIRE(client.send("{\"v\":1,\"command\":\"plugin\"}\n{\"v\":1,\"command\":\"relaod\"}\n"));
  CHECK(json::parse(client.line().value_or("null"))["error"]["code"] == "bad_request");
  const json answer = json::parse(client.line().value_or("null"));
  CHECK(answer["error"]["code"] == "unknown_command");
  CHECK(answer["error"]["hint"].get<std::string>().find("reload") != std::string::npos);
}

TEST_CASE("control server: who changes something is in the log, who only looks is not") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  UniqueFd writer(ends[0]);
  RawClient log{UniqueFd(ends[1])};
  LoggerOptions options;
  options.fd = writer.get();
  options.format = LogFormat::json;
  Logger logger(options);
  Fixture fixture(SMARM_VERSION, &logger);
  fixture.ctl({"status"});
  fixture.ctl({"restart", "echo"});
  const json record = json::parse(log.line().value_or("null"));
  CHECK(record["event"] == "control.command");
  CHECK(record["command"] == "restart");
  CHECK(record["plugin"] == "echo");
  CHECK(record["uid"] == ::getuid());
  CHECK(record["client_pid"] == ::getpid());
}
