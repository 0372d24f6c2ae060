// What the black-box tests share. They know the public headers and nothing else.
//
// Assertions inside actors are fine while they pass. Two rules follow from how doctest works: no
// CAPTURE or INFO in an actor (they live in a thread_local, and an actor may change threads), and
// no CHECK around a call in which the actor is to be killed (doctest would swallow the unwinding).
#pragma once

#include <smarm/smarm.hpp>

#include <doctest/doctest.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace test {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kTsan = true;
#else
inline constexpr bool kTsan = false;
#endif
#if SMARM_VALGRIND
inline constexpr bool kValgrind = true;
#else
inline constexpr bool kValgrind = false;
#endif
// Ten to thirty times: what is large or long is made smaller there.
inline constexpr bool kSlow = kTsan || kValgrind;
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAsan = true;
#else
inline constexpr bool kAsan = false;
#endif

// Long enough for a loaded machine: only a bug reaches it.
inline constexpr auto kPatience = 20s;

// Runs f(workers) at 1, 2 and 4 workers.
template <class F>
void for_each_worker_count(F f) {
  for (unsigned workers : {1u, 2u, 4u}) {
    CAPTURE(workers);
    f(workers);
  }
}

// For so many workers. SMARM_TEST_IO_BACKEND=io_uring: on the other backend; the suites that are
// about IO run once more with it.
inline smarm::Config config_at(unsigned workers) {
  const char* backend = std::getenv("SMARM_TEST_IO_BACKEND");
  const bool ring = backend && std::string_view(backend) == "io_uring";
  return smarm::Config::exact(workers).io_backend(ring ? smarm::IoBackend::io_uring
                                                       : smarm::IoBackend::epoll);
}

// Runs f as the first actor of a runtime, and checks that nothing was left behind.
template <class F>
void run_with(const smarm::Config& config, F f) {
  smarm::Runtime runtime = smarm::init(config);
  runtime.run(std::move(f));
  const smarm::Stats stats = runtime.stats();
  CHECK(stats.live == 0);
  CHECK(stats.total.spawned == stats.total.exited);
}
template <class F>
void run_at(unsigned workers, F f) {
  run_with(config_at(workers), std::move(f));
}
template <class F>
void run_at_each_worker_count(F f) {
  for_each_worker_count([&f](unsigned workers) { run_at(workers, f); });
}

// Yields until the condition holds; false when patience ends first.
template <class Condition>
bool yield_until(Condition condition) {
  const auto deadline = SteadyClock::now() + kPatience;
  while (!condition()) {
    if (SteadyClock::now() > deadline) return false;
    smarm::yield_now();
  }
  return true;
}

inline std::string_view state_of(smarm::Pid pid) {
  std::vector<smarm_actor_info> actors(smarm_actor_list(nullptr, 0) + 64);
  actors.resize(std::min(actors.size(), smarm_actor_list(actors.data(), actors.size())));
  for (const smarm_actor_info& actor : actors) {
    if (smarm::Pid(actor.pid) == pid) return actor.state;
  }
  return "ended";
}
// True once the actor has left its stack to wait for something.
inline bool parked(smarm::Pid pid) {
  const std::string_view state = state_of(pid);
  return state == "parked" || state == "waiting";
}
inline bool yield_until_parked(smarm::Pid pid) {
  return yield_until([pid] { return parked(pid); });
}

// Counts how many of its kind live. Copies count, moved-from objects do not.
class Counted {
 public:
  explicit Counted(std::atomic<int>& live) : live_(&live) { live_->fetch_add(1); }
  Counted(const Counted& o) : live_(o.live_) {
    if (live_) live_->fetch_add(1);
  }
  Counted(Counted&& o) noexcept : live_(std::exchange(o.live_, nullptr)) {}
  Counted& operator=(Counted o) noexcept { return std::swap(live_, o.live_), *this; }
  ~Counted() {
    if (live_) live_->fetch_sub(1);
  }

 private:
  std::atomic<int>* live_;
};

inline std::size_t open_fds() {
  return static_cast<std::size_t>(std::distance(
      std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator{}));
}

// Runs f in a child process and returns its wait status: for what may end the process.
template <class F>
int in_child_process(F f) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(60);
    f();
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

// The same, and what it wrote to stderr.
struct Ended {
  int status = -1;
  std::string report;
};
template <class F>
Ended in_reporting_child(F f) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  Ended ended;
  ended.status = in_child_process([&] {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::dup2(ends[1], STDERR_FILENO);
    f();
  });
  ::close(ends[1]);
  char part[4096];
  for (ssize_t n; (n = ::read(ends[0], part, sizeof part)) > 0;)
    ended.report.append(part, static_cast<std::size_t>(n));
  ::close(ends[0]);
  return ended;
}

// What an abandoned actor had is lost, and known to be. (The pointer may be to the middle.)
inline void lost_on_purpose([[maybe_unused]] const void* p) {
#if defined(__SANITIZE_ADDRESS__)
  __lsan_ignore_object(p);
#endif
}
// The same for what is allocated while one lives, on one thread.
struct LostOnPurpose {
#if defined(__SANITIZE_ADDRESS__)
  LostOnPurpose() { __lsan_disable(); }
  ~LostOnPurpose() { __lsan_enable(); }
#else
  LostOnPurpose() {}
#endif
  LostOnPurpose(const LostOnPurpose&) = delete;
  LostOnPurpose& operator=(const LostOnPurpose&) = delete;
};

// Keeps the compiler from seeing that an object is never used.
inline void escape(const void* p) { asm volatile("" : : "g"(p) : "memory"); }
// One allocation that is really made.
inline void allocate() {
  auto p = std::make_unique<long>(1);
  escape(p.get());
}

}  // namespace test
