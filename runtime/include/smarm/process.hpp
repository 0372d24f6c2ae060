// Child processes.
#pragma once

#include <smarm/fd.hpp>
#include <smarm/stream.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace smarm {

// What a child's standard input, output and error are.
enum class Stdio {
  inherit,  // the parent's
  null,     // /dev/null
  pipe      // a pipe to the parent
};

struct ProcessOptions {
  std::string program;                   // a path, or a name that is looked for in PATH
  std::vector<std::string> arguments{};  // without the program's own name
  std::optional<std::vector<std::string>> environment{};  // "NAME=value"; nullopt: the parent's
  std::string directory{};                                // to start in; empty: the parent's
  Stdio in = Stdio::null, out = Stdio::inherit, err = Stdio::inherit;
};

struct ExitStatus {
  int code = 0;    // of exit(); 0 when a signal ended it
  int signal = 0;  // that ended it, or 0
  bool ok() const { return code == 0 && signal == 0; }
  std::string text() const;  // "exit code 3", "SIGKILL"
};

// A child. One that is dropped before it was waited for is killed (SIGKILL).
class Process {
 public:
  Process() = default;
  // Starts it off the workers, with no signal blocked or ignored. Parks. The error of a program
  // that cannot be started (std::errc::no_such_file_or_directory) comes here.
  [[nodiscard]] static IoResult<Process> start(const ProcessOptions& command);
  Process(Process&& o) noexcept { *this = std::move(o); }
  Process& operator=(Process&& o) noexcept;
  ~Process() { drop(); }

  int pid() const { return pid_; }  // 0: none. Once it was waited for another process may have it
  // Waits for its end. Parks; one actor at a time. Once it has ended every further call answers the
  // same.
  [[nodiscard]] IoResult<ExitStatus> wait(Wait timeout = {});
  // From any actor. std::errc::no_such_process once it was waited for: never another process under
  // its number.
  [[nodiscard]] IoResult<void> kill(int signal);

  // The other ends of its pipes, where Stdio::pipe was asked for.
  PipeWriter in;
  PipeReader out, err;

 private:
  long send(int signal) const noexcept;
  void drop() noexcept;
  void reap_killed() noexcept;
  int pid_ = 0;
  int pidfd_ = -1;
  bool reaped_ = false;
  std::optional<ExitStatus> status_{};
};

// A child from start to end, and what it printed.
struct Output {
  ExitStatus status{};
  std::string out, err;
};
// Standard output and error are collected, whatever the command says; `input` is what it reads from
// its standard input. When the time runs out it is killed and the answer is std::errc::timed_out.
[[nodiscard]] IoResult<Output> run_process(ProcessOptions command, std::string_view input = {},
                                           Wait timeout = {});

}  // namespace smarm
