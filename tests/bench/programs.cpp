#include "tests/bench/programs.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace bench {
namespace {

Output failed(std::string reason) { return {.end = Output::End::failed, .reason = reason}; }

// Starts the program with its standard output in a pipe, whose other end is `out`.
int start(const std::vector<std::string>& command, int& out, pid_t& pid) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC)) return errno;
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const int error = ::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  out = ends[0];
  if (error) ::close(out);
  return error;
}

// Reads to the end; false when the time ran out first.
bool read_all(int fd, int seconds, std::string& text) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    const int n = left.count() > 0 ? ::poll(&ready, 1, static_cast<int>(left.count())) : 0;
    if (n == 0) return false;
    if (n < 0) continue;
    char buffer[4096];
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got <= 0) return true;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

void parse(const std::string& text, Output& output) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    char name[64], unit[16];
    unsigned workers;
    Result r;
    if (std::sscanf(line.c_str(),
                    "{\"bench\":\"%63[^\"]\",\"workers\":%u,\"value\":%lf,\"unit\":\"%15[^\"]\","
                    "\"min\":%lf,\"max\":%lf",
                    name, &workers, &r.median, unit, &r.min, &r.max) == 6) {
      output.readings.push_back({name, r});
    } else if (!line.empty()) {
      output.other.push_back(line);
    }
  }
}

}  // namespace

Output run_program(const std::vector<std::string>& command, int seconds) {
  int out = -1;
  pid_t pid = -1;
  if (const int error = start(command, out, pid)) return failed(std::strerror(error));
  std::string text;
  const bool in_time = read_all(out, seconds, text);
  if (!in_time) ::kill(pid, SIGKILL);
  ::close(out);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!in_time) return failed("took more than " + std::to_string(seconds) + " s");
  if (WIFSIGNALED(status)) return failed(std::string("died: ") + ::strsignal(WTERMSIG(status)));
  if (WEXITSTATUS(status) == kCannot) return {.end = Output::End::cannot};
  if (WEXITSTATUS(status)) return failed("exit code " + std::to_string(WEXITSTATUS(status)));
  Output output;
  parse(text, output);
  return output;
}

std::string self() {
  char path[4096];
  const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  return n > 0 ? std::string(path, static_cast<std::size_t>(n)) : "/proc/self/exe";
}

Result summary(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

}  // namespace bench
