// Child processes, waited for by their pidfds.

#include <smarm/process.hpp>

#include "runtime/io/address.hpp"
#include "runtime/io/epoll_poller.hpp"
#include "runtime/sched/park.hpp"

#include <smarm/actor.hpp>
#include <smarm/channel.hpp>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>

namespace smarm {

namespace {

// What posix_spawn is told.
class SpawnPlan {
 public:
  SpawnPlan() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  void start_in(const std::string& directory) {
    ::posix_spawn_file_actions_addchdir_np(&actions_, directory.c_str());
  }
  void put(int fd, int as) { ::posix_spawn_file_actions_adddup2(&actions_, fd, as); }
  void null(int as) {
    ::posix_spawn_file_actions_addopen(&actions_, as, "/dev/null",
                                       as == STDIN_FILENO ? O_RDONLY : O_WRONLY, 0);
  }
  // 0 or an errno. Blocks until the child runs its program.
  int run(const ProcessOptions& command, pid_t& pid) {
    std::vector<char*> argv{const_cast<char*>(command.program.c_str())};
    for (const std::string& a : command.arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    std::vector<char*> envp;
    if (command.environment) {
      for (const std::string& e : *command.environment)
        envp.push_back(const_cast<char*>(e.c_str()));
      envp.push_back(nullptr);
    }
    return ::posix_spawnp(&pid, argv[0], &actions_, &attributes_, argv.data(),
                          command.environment ? envp.data() : environ);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

// The two ends of a child's stream; no descriptor where there is no pipe.
struct Ends {
  OwnedFd parents{-1}, childs{-1};
};

IoResult<Ends> make_ends(Stdio how, int as) {
  if (how != Stdio::pipe) return Ends{};
  int ends[2];
  if (const long e = raw_syscall(SYS_pipe2, ends, O_CLOEXEC); e < 0) return failure(-e, "pipe", "");
  const bool reads = as == STDIN_FILENO;  // the child
  return Ends{OwnedFd(ends[reads ? 1 : 0]), OwnedFd(ends[reads ? 0 : 1])};
}

template <class End>
IoResult<void> give(Ends& ends, End& to) {
  if (ends.parents.get() < 0) return {};
  auto end = End::adopt(ends.parents.get());
  if (!end) return std::unexpected(std::move(end.error()));
  ends.parents.release();
  to = std::move(*end);
  return {};
}

// waitid of a pid that is ours until it is reaped. 0: it still runs.
long reap(int pid, int options, ExitStatus& status) {
  siginfo_t info{};
  const long e = raw_syscall(SYS_waitid, P_PID, pid, &info, WEXITED | options, nullptr);
  if (e < 0) return e;
  if (info.si_pid == 0) return 0;
  status = info.si_code == CLD_EXITED ? ExitStatus{.code = info.si_status}
                                      : ExitStatus{.signal = info.si_status};
  return 1;
}

}  // namespace

SMARM_PUBLIC std::string ExitStatus::text() const {
  if (signal == 0) return "exit code " + std::to_string(code);
  const char* name = ::sigabbrev_np(signal);
  return name ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

SMARM_PUBLIC IoResult<Process> Process::start(const ProcessOptions& command) {
  const Stdio how[] = {command.in, command.out, command.err};
  std::vector<Ends> ends;
  SpawnPlan plan;
  for (int as = 0; as < 3; ++as) {
    auto made = make_ends(how[as], as);
    if (!made) return std::unexpected(std::move(made.error()));
    ends.push_back(std::move(*made));
    if (how[as] == Stdio::pipe) plan.put(ends[as].childs.get(), as);
    if (how[as] == Stdio::null) plan.null(as);
  }
  if (!command.directory.empty()) plan.start_in(command.directory);
  pid_t pid = 0;
  const int error = block_on_io([&] { return plan.run(command, pid); });
  if (error) return failure(error, "start", command.program);
  Process p;
  p.pid_ = pid;
  // Without pidfds, which a sandbox may forbid, wait() looks every now and then.
  p.pidfd_ = static_cast<int>(raw_syscall(SYS_pidfd_open, pid, 0));
  if (auto given = give(ends[0], p.in); !given) return std::unexpected(std::move(given.error()));
  if (auto given = give(ends[1], p.out); !given) return std::unexpected(std::move(given.error()));
  if (auto given = give(ends[2], p.err); !given) return std::unexpected(std::move(given.error()));
  return p;
}

SMARM_PUBLIC Process& Process::operator=(Process&& o) noexcept {
  if (this == &o) return *this;
  drop();
  in = std::move(o.in);
  out = std::move(o.out);
  err = std::move(o.err);
  pid_ = std::exchange(o.pid_, 0);
  pidfd_ = std::exchange(o.pidfd_, -1);
  reaped_ = std::exchange(o.reaped_, false);
  status_ = std::exchange(o.status_, std::nullopt);
  return *this;
}

SMARM_PUBLIC IoResult<ExitStatus> Process::wait(Wait timeout) {
  using Clock = std::chrono::steady_clock;
  constexpr Duration kFirstNap = std::chrono::milliseconds(1);
  constexpr Duration kLongestNap = std::chrono::milliseconds(50);
  if (status_) return *status_;
  const std::string name = "process " + std::to_string(pid_);
  if (pid_ == 0 || reaped_) return failure(ECHILD, "wait", pid_ ? name : "no process");
  const auto began = Clock::now();
  Duration nap = kFirstNap;
  for (;;) {
    ExitStatus status;
    const long n = reap(pid_, WNOHANG, status);
    if (n < 0) {
      reaped_ =
          n == -ECHILD;  // by somebody who waits for every child, or because SIGCHLD is ignored
      return failure(-n, "wait", name);
    }
    if (n > 0) {
      reaped_ = true;
      status_ = status;
      return status;
    }
    Wait left = timeout;
    if (left) left = std::max<Duration>(*left - (Clock::now() - began), Duration(0));
    if (left && *left == Duration(0)) return failed_status(SMARM_E_TIMEOUT, "wait", name);
    if (pidfd_ >= 0) {
      auto ended = wait_readable(pidfd_, left);
      if (!ended && ended.error() != std::errc::timed_out)
        return failure(ended.error(), "wait", name);
    } else {
      sleep(left ? std::min(*left, nap) : nap);
      nap = std::min(2 * nap, kLongestNap);
    }
  }
}

// By its pidfd it is never another process. Without one it keeps its number until it is reaped.
long Process::send(int signal) const noexcept {
  if (pidfd_ >= 0) return raw_syscall(SYS_pidfd_send_signal, pidfd_, signal, nullptr, 0);
  return pid_ == 0 || reaped_ ? -ESRCH : raw_syscall(SYS_kill, pid_, signal);
}

SMARM_PUBLIC IoResult<void> Process::kill(int signal) {
  const long e = send(signal);
  if (e < 0) return failure(-e, "kill", pid_ ? "process " + std::to_string(pid_) : "no process");
  return {};
}

SMARM_PUBLIC void Process::drop() noexcept {
  in.close();
  out.close();
  err.close();
  if (pid_ != 0 && !reaped_) {
    send(SIGKILL);
    reap_killed();
  }
  if (pidfd_ >= 0) close_fd(std::exchange(pidfd_, -1));
  pid_ = 0;
}

// It has to give its memory back first: that is waited for by a thread that may block, and a kill
// of the actor comes after it. Outside an actor, or when there is no thread, here.
void Process::reap_killed() noexcept {
  const auto reap_it = [](void* pid) {
    ExitStatus status;
    while (reap(*static_cast<int*>(pid), 0, status) == -EINTR) {
    }
  };
  if (Worker* w = current_worker(); w && w->current) {
    const Section section(w);
    JobFailure failure;
    if (current_backend().blocking().run(reap_it, &pid_, failure) == 0) return;
  }
  reap_it(&pid_);
}

// ---- from start to end ----

namespace {

// What the helpers of one run share with it: it may be unwound at any wait while they go on.
struct Run {
  PipeWriter in;
  PipeReader out, err;
  std::string input, out_text, err_text;
};

void read_all(PipeReader& from, std::string& text) {
  std::array<char, 4096> buffer;
  for (;;) {
    auto n = from.read(buffer);
    if (!n || *n == 0) return;
    text.append(buffer.data(), *n);
  }
}

// Actors that nobody supervises, which end with their object.
class Helpers {
 public:
  Helpers() = default;
  ~Helpers() {
    for (Pid pid : pids_) smarm::kill(pid);
  }
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;
  template <class F>
  void add(F f) {
    pids_.push_back(spawn_under(ROOT_PID, {.name = "process-io"}, std::move(f)).pid());
  }

 private:
  std::vector<Pid> pids_;
};

}  // namespace

SMARM_PUBLIC IoResult<Output> run_process(ProcessOptions command, std::string_view input,
                                          Wait timeout) {
  using Clock = std::chrono::steady_clock;
  command.in = input.empty() ? Stdio::null : Stdio::pipe;
  command.out = command.err = Stdio::pipe;
  auto process = Process::start(command);
  if (!process) return std::unexpected(std::move(process.error()));
  const auto began = Clock::now();
  const auto left = [&]() -> Wait {
    if (!timeout) return {};
    return std::max<Duration>(*timeout - (Clock::now() - began), Duration(0));
  };
  auto run = std::make_shared<Run>();
  run->in = std::move(process->in);
  run->out = std::move(process->out);
  run->err = std::move(process->err);
  run->input = input;

  Helpers helpers;
  auto [tx, rx] = channel<int>();
  helpers.add([run, tx] {
    read_all(run->out, run->out_text);
    (void)tx.send(1);
  });
  helpers.add([run, tx] {
    read_all(run->err, run->err_text);
    (void)tx.send(2);
  });
  helpers.add([run, tx] {
    (void)run->in.write_all(run->input);  // a child that does not read it is none of our business
    run->in.close();
    (void)tx.send(0);
  });
  tx = {};
  for (int streams = 0; streams < 3; ++streams) {
    const Wait time = left();
    const auto done = time ? rx.recv_timeout(*time) : rx.recv();
    if (done) continue;
    if (done.error() == RecvError::timeout)
      return failed_status(SMARM_E_TIMEOUT, "run", command.program);
    return failure(std::make_error_code(std::errc::not_enough_memory),
                   "run (what it printed could not be kept)", command.program);
  }
  auto status = process->wait(left());
  if (!status && status.error().code == std::errc::timed_out)
    return failed_status(SMARM_E_TIMEOUT, "run", command.program);
  if (!status) return std::unexpected(std::move(status.error()));
  return Output{*status, std::move(run->out_text), std::move(run->err_text)};
}

}  // namespace smarm
