// Runtime: N workers that run actors until there is nothing left to do.
#pragma once

#include <smarm/smarm.h>
#include <smarm/actor.hpp>
#include <smarm/config.hpp>

#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace smarm {

using WorkerStats = smarm_worker_stats;

struct Stats {
  std::vector<WorkerStats> workers;  // behind those of the configuration: extra ones, once used
  WorkerStats total{};
  std::uint64_t live = 0;           // actors spawned and not ended
  std::size_t extras = 0;           // extra workers that run in the place of blocked ones
  std::size_t blocked = 0;          // workers whose thread an actor blocks
  std::uint64_t blocked_total = 0;  // times that one was found blocked
  smarm_blocking_stats blocking{};  // the threads of block_on_io
};

namespace detail {
inline Stats read_stats(smarm_runtime* runtime) {
  Stats s;
  s.workers.resize(smarm_runtime_stats(runtime, nullptr, 0));
  s.workers.resize(
      std::min(s.workers.size(), smarm_runtime_stats(runtime, s.workers.data(), s.workers.size())));
  for (const WorkerStats& w : s.workers) {
    s.total.resumes += w.resumes;
    s.total.parks += w.parks;
    s.total.yields += w.yields;
    s.total.preempted_alloc += w.preempted_alloc;
    s.total.preempted_async += w.preempted_async;
    s.total.steals += w.steals;
    s.total.wakes += w.wakes;
    s.total.spawned += w.spawned;
    s.total.exited += w.exited;
    s.total.idle_ns += w.idle_ns;
    s.total.timers_fired += w.timers_fired;
    s.total.polls += w.polls;
    s.total.hibernated += w.hibernated;
    s.total.thawed += w.thawed;
  }
  s.live = smarm_runtime_live(runtime);
  smarm_crew_stats crew{};
  crew.struct_size = sizeof crew;
  smarm_runtime_crew(runtime, &crew);
  s.extras = crew.extras;
  s.blocked = crew.blocked;
  s.blocked_total = crew.blocked_total;
  s.blocking.struct_size = sizeof s.blocking;
  smarm_runtime_blocking(runtime, &s.blocking);
  return s;
}
}  // namespace detail

// Move-only. run may be called again after it has returned; two runtimes may run at once on
// different threads.
class Runtime {
 public:
  explicit Runtime(const Config& config) : raw_(smarm_runtime_create(&config.raw())) {
    if (!raw_) throw std::invalid_argument(std::string("smarm::init: ") + smarm_last_error());
  }
  Runtime(Runtime&& o) noexcept : raw_(std::exchange(o.raw_, nullptr)) {}
  Runtime& operator=(Runtime&& o) noexcept { return std::swap(raw_, o.raw_), *this; }
  ~Runtime() {
    if (raw_) smarm_runtime_destroy(raw_);
  }

  // Runs f as the first actor, on the calling thread and the other workers. Returns when nothing is
  // runnable and no timer, IO wait or blocking job is pending; actors then parked for ever are
  // unwound. What escapes f is rethrown here, after that. run inside run throws std::logic_error.
  template <class F>
    requires std::invocable<std::decay_t<F>>
  void run(F&& f) {
    if (smarm_runtime_current()) detail::throw_status(SMARM_E_NESTED, "run");
    void* closure = detail::make_closure(std::forward<F>(f));
    smarm_exit* exit = nullptr;
    if (int status = smarm_runtime_run(raw_, &detail::entry<std::decay_t<F>>, closure, &exit)) {
      detail::entry<std::decay_t<F>>(closure, SMARM_DROP);
      detail::throw_status(status, "run");
    }
    JoinError error{detail::ExitRecord(exit)};
    if (!exit) return;
    if (std::exception_ptr e = error.exception()) std::rethrow_exception(e);
    throw error;  // the first actor was killed
  }
  Stats stats() const { return detail::read_stats(raw_); }
  smarm_runtime* raw() const { return raw_; }

 private:
  smarm_runtime* raw_;
};

// Throws std::invalid_argument when the config is out of range.
inline Runtime init(const Config& config = Config{}) { return Runtime(config); }

// One worker: the calling thread.
template <class F>
  requires std::invocable<std::decay_t<F>>
void run(F&& f) {
  init(Config::exact(1)).run(std::forward<F>(f));
}

// Of the caller's runtime. Throws std::logic_error outside an actor.
inline Stats stats() {
  smarm_runtime* runtime = smarm_runtime_current();
  if (!runtime) detail::throw_status(SMARM_E_NOT_ACTOR, "stats");
  return detail::read_stats(runtime);
}

}  // namespace smarm
