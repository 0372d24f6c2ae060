#include "tests/bench/counters.hpp"

#include <smarm/smarm.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include <linux/perf_event.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace bench {
namespace {

bool on = false;
int syscalls_fd = -1;

struct Snapshot {
  bool in_runtime = false;
  smarm::WorkerStats stats{};
  unsigned long allocations = 0;
  double syscalls = 0, thread_waits = 0, page_faults = 0;
};

struct Counted {
  double ops = 0;
  Snapshot begin, end;
} last;

// The number of the tracepoint that every system call passes.
long tracepoint() {
  for (const char* path : {"/sys/kernel/tracing/events/raw_syscalls/sys_enter/id",
                           "/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id"}) {
    if (std::FILE* f = std::fopen(path, "re")) {
      long id = -1;
      const bool read = std::fscanf(f, "%ld", &id) == 1;
      std::fclose(f);
      if (read) return id;
    }
  }
  return -1;
}

// Counts the system calls of this thread and of the threads it makes later; no tracer stops them.
// A descriptor, or -1 and the reason.
int open_syscalls(std::string& reason) {
  const long id = tracepoint();
  if (id < 0) {
    reason = "the tracepoint raw_syscalls:sys_enter cannot be read (it takes tracefs and root)";
    return -1;
  }
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = PERF_TYPE_TRACEPOINT;
  attr.config = static_cast<std::uint64_t>(id);
  attr.inherit = 1;
  const long fd = ::syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
  if (fd < 0) reason = std::string("perf_event_open: ") + std::strerror(errno);
  return static_cast<int>(fd);
}

double syscalls() {
  std::uint64_t n = 0;
  if (syscalls_fd < 0 || ::read(syscalls_fd, &n, sizeof n) != sizeof n) return 0;
  return static_cast<double>(n);
}

Snapshot snapshot() {
  Snapshot s;
  s.in_runtime = smarm_runtime_current() != nullptr;
  if (s.in_runtime) s.stats = smarm::stats().total;
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  s.thread_waits = static_cast<double>(usage.ru_nvcsw);
  s.page_faults = static_cast<double>(usage.ru_minflt + usage.ru_majflt);
  s.allocations = allocations();
  s.syscalls = syscalls();
  return s;
}

// What a pair of snapshots itself counts for: the first one's read, the second one's getrusage.
constexpr double kOwnSyscalls = 2;

}  // namespace

void start_counting() {
  on = true;
  count_allocations();
  std::string reason;
  syscalls_fd = open_syscalls(reason);
}

bool counting() { return on; }

void count(double ops, const std::function<void()>& f) {
  last.ops = ops;
  last.begin = snapshot();
  f();
  last.end = snapshot();
}

std::vector<std::pair<std::string, double>> take_counts() {
  std::vector<std::pair<std::string, double>> counts;
  if (last.ops == 0) return counts;
  const double ops = std::exchange(last.ops, 0);
  auto add = [&](const char* name, double n) { counts.emplace_back(name, (n > 0 ? n : 0) / ops); };
  if (last.begin.in_runtime) {
    const smarm::WorkerStats &a = last.begin.stats, &b = last.end.stats;
    auto diff = [](std::uint64_t from, std::uint64_t to) { return static_cast<double>(to - from); };
    add("switches", diff(a.resumes, b.resumes));
    add("parks", diff(a.parks, b.parks));
    add("yields", diff(a.yields, b.yields));
    add("preempted",
        diff(a.preempted_alloc + a.preempted_async, b.preempted_alloc + b.preempted_async));
    add("steals", diff(a.steals, b.steals));
    add("wakes", diff(a.wakes, b.wakes));
    add("polls", diff(a.polls, b.polls));
    add("timers", diff(a.timers_fired, b.timers_fired));
  }
  add("allocations", static_cast<double>(last.end.allocations - last.begin.allocations));
  if (syscalls_fd >= 0) add("syscalls", last.end.syscalls - last.begin.syscalls - kOwnSyscalls);
  add("thread_waits", last.end.thread_waits - last.begin.thread_waits);
  add("page_faults", last.end.page_faults - last.begin.page_faults);
  return counts;
}

std::string no_syscalls_reason() {
  std::string reason;
  const int fd = open_syscalls(reason);
  if (fd >= 0) ::close(fd);
  return reason;
}

}  // namespace bench
