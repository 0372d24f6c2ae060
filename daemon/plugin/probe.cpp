// The daemon's side of the probe.
#include "daemon/plugin/probe.hpp"

#include "daemon/plugin/probe_report.hpp"
#include "daemon/plugin/text.hpp"
#include "daemon/plugin/unique_fd.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>
#include <vector>

namespace smarmd::plugin {
namespace {

using Clock = std::chrono::steady_clock;
using Outcome = std::expected<void, std::string>;

constexpr std::size_t kOutputKept = 16
                                    << 10;  // the end of the child's output: its last words count
constexpr int kLookMs = 20;                 // without a pidfd, which a sandbox may forbid

// A child in a process group of its own. Its destructor kills the group and reaps the child:
// nothing is left behind on any path.
class Child {
 public:
  Child(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { (void)end(); }

  int pidfd() const { return pidfd_.get(); }  // -1: look at has_ended() now and then

  bool has_ended() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == pid_;
  }

  // Kills what is left of the group, then reaps: until then the number cannot be another group's.
  siginfo_t end() {
    siginfo_t info{};
    if (pid_ <= 0) return info;
    ::kill(-pid_, SIGKILL);
    while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0 && errno == EINTR) {
    }
    pid_ = -1;
    return info;
  }

 private:
  pid_t pid_;
  UniqueFd pidfd_;
};

// glibc 2.36 declares pidfd_open without C linkage, so C++ cannot link it.
UniqueFd open_pidfd(pid_t pid) {
#if SMARM_VALGRIND  // it has none, and says so on stderr
  return UniqueFd(-1);
#endif
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

// The daemon's environment without what speaks to the service manager: a plugin's constructor must
// not answer in the daemon's name.
std::vector<char*> child_environment() {
  static constexpr std::string_view kDropped[] = {
      "NOTIFY_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID=",
      "LISTEN_FDS=",    "LISTEN_PID=",    "LISTEN_FDNAMES="};
  std::vector<char*> kept;
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view text(*entry);
    if (std::none_of(std::begin(kDropped), std::end(kDropped),
                     [&](std::string_view d) { return text.starts_with(d); }))
      kept.push_back(*entry);
  }
  kept.push_back(nullptr);
  return kept;
}

// posix_spawn's two objects, with an end.
struct SpawnSettings {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;

  explicit SpawnSettings(int output) {
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
    ::posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    sigset_t none, all;  // the daemon blocks and ignores signals for reasons of its own
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  }
};

std::expected<pid_t, std::string> spawn_child(const std::filesystem::path& exe,
                                              const std::filesystem::path& file, int output) {
  const SpawnSettings settings(output);
  std::string name = "smarmd", flag = "--probe-child", argument = file;
  char* const arguments[] = {name.data(), flag.data(), argument.data(), nullptr};
  const auto environment = child_environment();
  std::filesystem::path program = exe;
#if SMARM_VALGRIND  // it would run itself
  if (exe == "/proc/self/exe") program = std::filesystem::read_symlink(exe);
#endif
  pid_t pid = -1;
  if (const int error = ::posix_spawn(&pid, program.c_str(), &settings.files, &settings.attributes,
                                      arguments, environment.data())) {
    return std::unexpected("cannot be probed: running " + exe.string() +
                           " failed: " + errno_text(error));
  }
  return pid;
}

// Reads what is there, at most one full pipe: a child that never stops printing must not keep us
// from the clock. False at the end of the output.
bool drain(int fd, std::string& output) {
  char chunk[4096];
  for (int i = 0; i < 16; ++i) {
    const ssize_t n = ::read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return true;  // EAGAIN
    if (n == 0) return false;
    output.append(chunk, static_cast<std::size_t>(n));
    if (output.size() > 2 * kOutputKept) output.erase(0, output.size() - kOutputKept);
  }
  return true;
}

enum class End { ended, late, cancelled };

// Collects output until the child has ended, the deadline has passed or somebody has cancelled.
// What a grandchild still holds open does not count.
End wait_for_end(const Child& child, int output_fd, int cancel, Clock::time_point deadline,
                 std::string& output) {
  bool open = true;
  const bool looks = child.pidfd() < 0;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return End::late;
    pollfd watched[] = {
        {child.pidfd(), POLLIN, 0}, {open ? output_fd : -1, POLLIN, 0}, {cancel, POLLIN, 0}};
    const std::int64_t most = looks ? kLookMs : 60'000;
    if (::poll(watched, 3, static_cast<int>(std::min<std::int64_t>(left, most))) < 0 &&
        errno != EINTR)
      return End::late;
    if (watched[2].revents) return End::cancelled;
    if (open && watched[1].revents) open = drain(output_fd, output);
    if (looks ? child.has_ended() : watched[0].revents != 0) {
      if (open) (void)drain(output_fd, output);
      return End::ended;
    }
  }
}

struct Words {
  bool loaded = false, ok = false;
  std::string failed;   // the reason the child gave
  std::string printed;  // the last line that is not a report
};

Words parse(std::string_view output) {
  Words words;
  while (!output.empty()) {
    const std::size_t end = std::min(output.find('\n'), output.size());
    std::string_view line = output.substr(0, end);
    output.remove_prefix(std::min(end + 1, output.size()));
    if (!line.starts_with(kReportPrefix)) {
      if (auto text = one_line(line, 200); !text.empty()) words.printed = std::move(text);
      continue;
    }
    line.remove_prefix(kReportPrefix.size());
    words.loaded |= line == kReportLoaded;
    words.ok |= line == kReportOk;
    if (line.starts_with(kReportFailed))
      words.failed = one_line(line.substr(kReportFailed.size()), 600);
  }
  return words;
}

std::string signal_text(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

std::string seconds_text(std::chrono::milliseconds time) {
  std::string text = std::to_string(time.count() / 1000);
  if (const auto rest = time.count() % 1000) text += "." + std::to_string(1000 + rest).substr(1);
  return text + " s";
}

Outcome judge(bool ended, const siginfo_t& info, const Words& words,
              std::chrono::milliseconds timeout) {
  const std::string when =
      words.loaded ? "when it was unloaded (a static destructor, or a thread that it left running)"
                   : "while it was loaded (a static constructor)";
  const std::string printed = words.printed.empty() ? "" : "; it printed: " + words.printed;
  if (!ended) return std::unexpected("hung for " + seconds_text(timeout) + " " + when + printed);
  if (!words.failed.empty()) return std::unexpected(words.failed);
  if (info.si_code != CLD_EXITED)
    return std::unexpected("crashed by " + signal_text(info.si_status) + " " + when + printed);
  if (info.si_status == 0 && words.ok) return {};
  return std::unexpected("ended its process with exit status " + std::to_string(info.si_status) +
                         " " + when + printed);
}

}  // namespace

Outcome probe(const std::filesystem::path& self_exe, const std::filesystem::path& file,
              std::chrono::milliseconds timeout, int cancel) {
  const auto deadline = Clock::now() + timeout;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return std::unexpected("cannot be probed: no pipe: " + errno_text(errno));
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  const auto pid = spawn_child(self_exe, file, writer.get());
  if (!pid) return std::unexpected(pid.error());
  writer.reset();
  Child child(*pid, open_pidfd(*pid));
  std::string output;
  const End end = wait_for_end(child, reader.get(), cancel, deadline, output);
  if (end == End::cancelled) return std::unexpected("was not probed to the end: smarmd stops");
  const bool ended = end == End::ended;
  if (const auto whole = output.rfind('\n'); !ended && whole != output.npos)
    output.resize(whole + 1);  // the kill cuts it anywhere
  return judge(ended, child.end(), parse(output), timeout);
}

}  // namespace smarmd::plugin
