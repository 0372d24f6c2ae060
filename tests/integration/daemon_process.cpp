#include "tests/integration/daemon_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

namespace integration {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Child {
  std::vector<std::string> arguments, environment;
  std::vector<char*> argv, envp;

  Child(std::vector<std::string> a, const std::map<std::string, std::string>& extra)
      : arguments(std::move(a)) {
    for (char** e = environ; *e; ++e) {
      const std::string_view entry(*e);
      // What the test runner's own service manager said is not for the child.
      if (entry.starts_with("NOTIFY_SOCKET=") || entry.starts_with("WATCHDOG_") ||
          entry.starts_with("LISTEN_") || entry.starts_with("JOURNAL_STREAM=") ||
          entry.starts_with("STATE_DIRECTORY="))
        continue;
      if (!extra.contains(std::string(entry.substr(0, entry.find('=')))))
        environment.emplace_back(entry);
    }
    for (const auto& [name, value] : extra) {
      environment.push_back(name);
      environment.back().append("=").append(value);
    }
    for (std::string& s : arguments) argv.push_back(s.data());
    for (std::string& s : environment) envp.push_back(s.data());
    argv.push_back(nullptr);
    envp.push_back(nullptr);
  }

  // `passed`, when it is a descriptor, becomes the child's number 3; `errors` its stderr, in place
  // of the file.
  pid_t spawn(const fs::path& out, const fs::path& err, int passed = -1, int errors = -1) {
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::posix_spawn_file_actions_addopen(&files, 2, err.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (errors >= 0) ::posix_spawn_file_actions_adddup2(&files, errors, 2);
    if (passed >= 0) ::posix_spawn_file_actions_adddup2(&files, passed, 3);
    pid_t pid = -1;
    const int error = ::posix_spawn(&pid, argv[0], &files, nullptr, argv.data(), envp.data());
    ::posix_spawn_file_actions_destroy(&files);
    REQUIRE_MESSAGE(error == 0, "cannot run " << arguments[0]);
    return pid;
  }
};

std::optional<int> try_wait(pid_t pid) {
  int status = 0;
  if (::waitpid(pid, &status, WNOHANG) != pid) return std::nullopt;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

fs::path make_directory() {
  std::string pattern = (fs::temp_directory_path() / "smarmd-test-XXXXXX").native();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  return pattern;
}

int bind_notify_socket(const fs::path& path) {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.native().copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return fd;
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

bool matches(const Json& record, const Match& match) {
  return std::ranges::all_of(match, [&](const auto& m) {
    return record.contains(m.first) && text_of(record[m.first]) == m.second;
  });
}

}  // namespace

std::string read_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

fs::path fixture_file(const std::string& name) {
  return fs::path(SMARM_FIXTURES_DIR) / (name + ".so");
}
fs::path own_plugin_file(const std::string& name) {
  return fs::path(SMARM_INTEGRATION_PLUGINS) / (name + ".so");
}

Output run_program(const std::vector<std::string>& arguments,
                   const std::map<std::string, std::string>& environment) {
  const fs::path directory = make_directory();
  const pid_t pid = Child(arguments, environment).spawn(directory / "out", directory / "err");
  Output output;
  std::optional<int> exit;
  for (const auto end = Clock::now() + kPatience; !(exit = try_wait(pid)) && Clock::now() < end;)
    std::this_thread::sleep_for(5ms);
  if (!exit) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  output.exit = exit.value_or(-1);
  output.out = read_file(directory / "out");
  output.err = read_file(directory / "err");
  fs::remove_all(directory);
  REQUIRE_MESSAGE(exit.has_value(), arguments[0] << " did not end: " << output.err);
  return output;
}

DaemonProcess::DaemonProcess() : directory_(make_directory()) {
  fs::create_directory(plugins());
  config = {
      {"runtime", {{"threads", 2}, {"shutdown_ms", 5000}}},
      {"plugins",
       {{"directory", plugins().native()}, {"state_directory", (directory_ / "state").native()}}},
      {"log", {{"format", "json"}, {"level", "debug"}}},
      {"control", {{"socket", socket().native()}}},
      {"metrics", {{"listen", "127.0.0.1:0"}}}};
  notify_fd_ = bind_notify_socket(directory_ / "notify.sock");
}

DaemonProcess::~DaemonProcess() {
  if (running()) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::close(notify_fd_);
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

void DaemonProcess::write_config() const { write_config_text(config.dump(2)); }

void DaemonProcess::write_config_text(std::string_view text) const {
  std::ofstream out(config_file(), std::ios::binary | std::ios::trunc);
  out << text;
}

void DaemonProcess::start(const std::vector<std::string>& more,
                          const std::map<std::string, std::string>& environment, int errors) {
  REQUIRE_FALSE(running());
  if (!fs::exists(config_file())) write_config();
  std::vector<std::string> arguments = {SMARMD_PROGRAM, "--config", config_file().native()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  std::map<std::string, std::string> all = environment;
  all.emplace("NOTIFY_SOCKET", (directory_ / "notify.sock").native());
  exit_.reset();
  pid_ = Child(std::move(arguments), all).spawn(directory_ / "log", directory_ / "log", -1, errors);
}

void DaemonProcess::start_activated(int socket, const std::string& names) {
  REQUIRE_FALSE(running());
  if (!fs::exists(config_file())) write_config();
  // The shell's pid is the daemon's, which LISTEN_PID has to name.
  const bool twice = names.find(':') != names.npos;
  const std::string script = std::string(twice ? "exec 4<&3; " : "") +
                             "LISTEN_PID=$$ LISTEN_FDS=" + (twice ? "2" : "1") +
                             " LISTEN_FDNAMES=" + names + " exec \"$0\" --config \"$1\"";
  exit_.reset();
  pid_ = Child({"/bin/sh", "-c", script, SMARMD_PROGRAM, config_file().native()},
               {{"NOTIFY_SOCKET", (directory_ / "notify.sock").native()}})
             .spawn(directory_ / "log", directory_ / "log", socket);
  wait_log("daemon.ready");
}

void DaemonProcess::start_ready(const std::vector<std::string>& more,
                                const std::map<std::string, std::string>& environment) {
  const std::size_t before = logged("daemon.ready").size();
  start(more, environment);
  wait_log("daemon.ready", {}, before + 1);
}

bool DaemonProcess::running() {
  if (reads_notifications) notifications();
  if (pid_ > 0 && !exit_) exit_ = try_wait(pid_);
  return pid_ > 0 && !exit_;
}

void DaemonProcess::signal(int number) const { REQUIRE(::kill(pid_, number) == 0); }

void DaemonProcess::until(const std::function<bool()>& done, const std::string& what) {
  const auto end = Clock::now() + kPatience;
  for (;;) {
    const bool alive = running();
    if (done()) return;
    if (!alive || Clock::now() > end) break;
    std::this_thread::sleep_for(5ms);
  }
  FAIL((running() ? "waited in vain for " : "the daemon ended before ") << what << "; its log:\n"
                                                                        << log_text());
}

int DaemonProcess::wait_exit(milliseconds limit) {
  const auto end = Clock::now() + limit;
  while (running() && Clock::now() < end) std::this_thread::sleep_for(5ms);
  REQUIRE_MESSAGE(!running(), "the daemon did not end; its log:\n" << log_text());
  return *exit_;
}

int DaemonProcess::stop() {
  signal(SIGTERM);
  return wait_exit();
}

void DaemonProcess::install(const std::string& fixture, const std::string& as) const {
  const fs::path own = own_plugin_file(fixture);
  const std::string bytes = read_file(fs::exists(own) ? own : fixture_file(fixture));
  REQUIRE_MESSAGE(!bytes.empty(), fixture << " is not built");
  install_bytes(bytes, as.empty() ? fixture + ".so" : as);
}

void DaemonProcess::install_bytes(std::string_view bytes, const std::string& as) const {
  const fs::path hidden = plugins() / ("." + as + ".new");
  {
    std::ofstream out(hidden, std::ios::binary | std::ios::trunc);
    out << bytes;
  }
  fs::permissions(hidden, fs::perms(0644));
  fs::rename(hidden, plugins() / as);
}

void DaemonProcess::remove(const std::string& file) const { REQUIRE(fs::remove(plugins() / file)); }

Output DaemonProcess::ctl(std::vector<std::string> arguments) const {
  if (std::ranges::find(arguments, "--timeout") == arguments.end()) {
    const auto patience = std::chrono::duration_cast<std::chrono::seconds>(kPatience).count();
    arguments.insert(arguments.begin(), {"--timeout", std::to_string(patience)});
  }
  arguments.insert(arguments.begin(), {SMARMCTL_PROGRAM, "--socket", socket().native()});
  return run_program(arguments);
}

Json DaemonProcess::plugin(const std::string& name) const {
  const Output output = ctl({"--json", "plugins"});
  REQUIRE_MESSAGE(output.exit == 0, output.err << output.out);
  const Json document =
      output.json();  // kept: a range-for does not keep the temporary that it reaches into
  for (const Json& p : document.at("result").at("plugins")) {
    if (p.at("name") == name) return p;
  }
  return nullptr;
}

Json DaemonProcess::wait_plugin_state(const std::string& name, const std::string& state) {
  Json found;
  until([&] { return (found = plugin(name)) != nullptr && found.at("state") == state; },
        name + " to be " + state);
  return found;
}

std::string DaemonProcess::log_text() const { return read_file(directory_ / "log"); }

std::vector<Json> DaemonProcess::log() const {
  std::vector<Json> records;
  std::istringstream lines(log_text());
  for (std::string line; std::getline(lines, line);) {
    Json record = Json::parse(line, nullptr, false);
    if (record.is_object() && !lines.eof()) records.push_back(std::move(record));
  }
  return records;
}

std::vector<Json> DaemonProcess::logged(const std::string& event, const Match& match) const {
  std::vector<Json> found;
  for (Json& record : log()) {
    if (record.value("event", "") == event && matches(record, match))
      found.push_back(std::move(record));
  }
  return found;
}

Json DaemonProcess::wait_log(const std::string& event, const Match& match, std::size_t count) {
  std::vector<Json> found;
  until([&] { return (found = logged(event, match)).size() >= count; },
        std::to_string(count) + " x " + event + " " + Json(match).dump());
  return found[count - 1];
}

std::vector<std::string> DaemonProcess::notifications() {
  char buffer[4096];
  for (ssize_t n; (n = ::recv(notify_fd_, buffer, sizeof buffer, 0)) >= 0;)
    notified_.emplace_back(buffer, static_cast<std::size_t>(n));
  return notified_;
}

void DaemonProcess::wait_notification(const std::string& part) {
  until(
      [&] {
        return std::ranges::any_of(notifications(),
                                   [&](const std::string& n) { return n.find(part) != n.npos; });
      },
      "the notification " + part);
}

}  // namespace integration
