#include "runtime/sched/monitor.hpp"

#include "runtime/base/clock.hpp"
#include "runtime/base/futex.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/sched/runtime_core.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace smarm {

namespace {

constexpr std::uint32_t kRoused = 1, kEnd = 2;
constexpr std::uint64_t kSwitches = 8;
constexpr std::uint64_t kQuiet = 1'000'000'000;  // ns of looks with nobody busy before it sleeps

// Does the kernel run the thread, or keep it waiting for a CPU? Not when it sleeps in a call.
bool is_running(pid_t thread) {
  char path[48];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/stat", static_cast<int>(thread));
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;  // it has ended
  char text[128];
  const ssize_t n = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (n <= 0) return false;
  text[n] = '\0';
  const char* name_end = std::strrchr(text, ')');  // "id (name) state ..."
  return name_end && std::strncmp(name_end, ") R", 3) == 0;
}

// Changes with everything that shows a tick or a switch.
std::uint64_t activity_of(const Worker& w) {
  const WorkerCounters& c = w.counters;
  return c.resumes.get() + c.yields.get() + c.preempted_alloc.get() + c.preempted_async.get();
}

void (*chore)() = nullptr;
constexpr std::uint64_t kChoreInterval = 1'000'000'000;  // ns

}  // namespace

void Monitor::set_chore(void (*f)()) { chore = f; }

void Monitor::do_chore(std::uint64_t now_ns, bool at_once) {
  if (!chore || (!at_once && now_ns - chore_ns_ < kChoreInterval)) return;
  chore_ns_ = now_ns;
  chore();
}

void Monitor::start() {
  const std::lock_guard lock(life_);
  if (quantum_ns() != 0) begin();
  started_ = true;
}

void Monitor::begin() {
  // ThreadSanitizer holds signals back until the thread is in a call of its own.
  if (SMARM_TSAN || thread_.joinable()) return;
  watched_.assign(runtime_.workers().size(), Watched{});
  word_.store(0, std::memory_order_relaxed);
  thread_ = std::thread([this] { run(); });
}

void Monitor::set_quantum(std::uint64_t ns) {
  const std::lock_guard lock(life_);
  if (started_ && ns != 0) begin();
  quantum_ns_.store(ns, std::memory_order_relaxed);
  wake();  // it may be asleep, for the old quantum or without limit
}

void Monitor::stop() {
  const std::lock_guard lock(life_);
  started_ = false;
  if (!thread_.joinable()) return;
  word_.store(kEnd, std::memory_order_release);
  futex_wake_one(word_);
  thread_.join();
}

void Monitor::wake() {
  std::uint32_t nothing = 0;
  if (word_.compare_exchange_strong(nothing, kRoused, std::memory_order_release))
    futex_wake_one(word_);
}

void Monitor::run() {
  Clock& clock = SystemClock::instance();
  std::uint64_t busy_ns = clock.now_ns();  // when somebody was last
  for (;;) {
    const std::uint64_t began = clock.now_ns();
    const std::uint64_t quantum = quantum_ns();
    // Twice a quantum: an actor is stopped between one and one and a half of them.
    std::uint64_t until = began + std::max<std::uint64_t>(quantum / 2, 50'000);
    if (quantum == 0) {
      until = kNever;
    } else if (began - busy_ns > kQuiet) {
      asleep_.store(true, std::memory_order_seq_cst);
      if (runtime_.all_idle()) {
        do_chore(began, true);
        until = kNever;
      }
    }
    while (word_.load(std::memory_order_acquire) == 0 && clock.now_ns() < until)
      futex_wait(word_, 0, until);
    asleep_.store(false, std::memory_order_relaxed);
    const std::uint32_t word = word_.load(std::memory_order_acquire);
    if (word == kEnd) return;
    if (word == kRoused) {
      std::uint32_t roused = kRoused;
      word_.compare_exchange_strong(roused, 0, std::memory_order_relaxed);
    }
    const std::uint64_t now = clock.now_ns();
    do_chore(now, false);
    if (word == kRoused || !runtime_.all_idle()) busy_ns = now;
    for (std::size_t i = 0; i < watched_.size(); ++i)
      look(*runtime_.workers()[i], watched_[i], now, quantum);
  }
}

void Monitor::look(Worker& w, Watched& watched, std::uint64_t now_ns, std::uint64_t quantum_ns) {
  const std::uint64_t activity = activity_of(w);
  const pid_t thread = w.thread.load(std::memory_order_relaxed);
  if (activity != watched.activity || thread == 0 || w.resting.load(std::memory_order_relaxed)) {
    // Few switches since the look that ended in a signal: they followed it at once.
    const bool by_signal = watched.signalled_ns != 0 && activity - watched.activity <= kSwitches &&
                           watched.signalled_ns == watched.looked_ns;
    watched.since_ns = by_signal ? watched.signalled_ns : now_ns;
    watched.activity = activity;
  } else if (quantum_ns != 0 && now_ns - watched.since_ns + quantum_ns / 8 >= quantum_ns &&
             is_running(thread)) {
    // An eighth early, for looks are not on the dot. Again at every look until something happens:
    // it may be in libc now, in its own code then.
    ::tgkill(::getpid(), thread, SIGURG);
    watched.signalled_ns = now_ns;
  }
  watched.looked_ns = now_ns;
}

}  // namespace smarm
