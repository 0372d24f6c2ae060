// smarm.h: runtimes and their configuration.

#include "runtime/actor/exit_record.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/context/frozen_stack.hpp"
#include "runtime/context/stack_pool.hpp"
#include "runtime/facade/fill_struct.hpp"
#include "runtime/facade/usable_cpus.hpp"
#include "runtime/fault/async_preempt.hpp"
#include "runtime/fault/culprit.hpp"
#include "runtime/fault/exit.hpp"
#include "runtime/fault/install.hpp"
#include "runtime/fault/notice.hpp"
#include "runtime/fault/report.hpp"
#include "runtime/fault/signal_guard.hpp"
#include "runtime/io/epoll_poller.hpp"
#include "runtime/io/uring_poller.hpp"
#include "runtime/sched/forked.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/runtime_core.hpp"
#include "runtime/supervision/registry.hpp"

#include <smarm/smarm.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <system_error>

using namespace smarm;

struct smarm_runtime : RuntimeCore {
  smarm_runtime(const smarm_config& config, std::unique_ptr<Poller> poller)
      : RuntimeCore(config, std::move(poller), SystemClock::instance()) {}
};

namespace {

// What has to be in place before the first runtime is made.
void install_floors() {
  static const bool done = [] {
    install_fork_handler();
    learn_process();
    install_throw_trace();
    install_terminate_handler();
    install_fault_handlers();
    install_supervision_hook();
    Monitor::set_chore(smarm_process_check);
    return true;
  }();
  static_cast<void>(done);
}

bool in_range(const char* name, std::uint64_t value, std::uint64_t low, std::uint64_t high) {
  if (value >= low && value <= high) return true;
  set_last_error("%s is %llu; it must be from %llu to %llu", name,
                 static_cast<unsigned long long>(value), static_cast<unsigned long long>(low),
                 static_cast<unsigned long long>(high));
  return false;
}

bool valid(const smarm_config& c) {
  return in_range("workers", c.workers, 1, 1024) &&
         in_range("alloc_interval", c.alloc_interval, 1, 1'000'000) &&
         in_range("timeslice_cycles", c.timeslice_cycles, 1000, 1'000'000'000'000) &&
         in_range("stack_size", c.stack_size, 4096, std::uint64_t{1} << kMaxStackShift) &&
         in_range("blocking_threads", c.blocking_threads, 1, 4096) &&
         in_range("io_backend", c.io_backend, 0, 1) &&
         in_range("on_fault", c.on_fault, SMARM_ON_FAULT_PANIC_SAFE, SMARM_ON_FAULT_ABORT) &&
         in_range("fault_scope", c.fault_scope, SMARM_FAULTS_OF_PROGRAM, SMARM_FAULTS_OF_PLUGINS);
}

bool prepare_async_preemption(std::uint64_t quantum_ns) {
  if (quantum_ns == 0) return true;
  if (!can_preempt_asynchronously()) return false;
  install_async_preemption();
  return true;
}

smarm_runtime* caller_runtime() {
  Worker* w = current_worker();
  return w ? static_cast<smarm_runtime*>(&w->runtime) : nullptr;
}

BlockingPool& pool_of(smarm_runtime& rt) { return backend_of(rt).blocking(); }

std::unique_ptr<Poller> make_backend(const smarm_config& c) {
  if (c.io_backend == SMARM_IO_EPOLL) return std::make_unique<EpollPoller>(c.blocking_threads);
  return std::make_unique<UringPoller>(c.blocking_threads, c.workers, c.hibernate_after_ns != 0);
}

void copy_counters(const Worker& w, smarm_worker_stats& s) {
  const WorkerCounters& c = w.counters;
  s = {c.resumes.get(),         c.parks.get(),   c.yields.get(),       c.preempted_alloc.get(),
       c.preempted_async.get(), c.steals.get(),  c.wakes.get(),        c.spawned.get(),
       c.exited.get(),          c.idle_ns.get(), c.timers_fired.get(), c.polls.get(),
       c.hibernated.get(),      c.thawed.get()};
}

}  // namespace

extern "C" {

const char* smarm_version(void) { return SMARM_VERSION; }
const char* smarm_last_error(void) { return last_error(); }

void smarm_config_init(smarm_config* c) {
  std::memset(c, 0, sizeof *c);
  c->struct_size = sizeof *c;
  c->workers = 0;
  c->alloc_interval = 128;
  c->io_backend = SMARM_IO_EPOLL;
  c->timeslice_cycles = 300'000;
  c->stack_size = std::uint64_t{64} * 1024;
  c->blocking_threads = 64;
}

smarm_runtime* smarm_runtime_create(const smarm_config* given) {
  install_floors();
  smarm_config config;
  smarm_config_init(&config);
  std::memcpy(static_cast<void*>(&config), given,
              std::min<std::size_t>(given->struct_size, sizeof config));
  if (config.workers == 0) config.workers = usable_cpus();
  if (!valid(config)) return nullptr;
  if (config.hibernate_after_ns && !can_freeze_stacks()) return nullptr;
  if (!prepare_async_preemption(config.async_preempt_ns)) return nullptr;
  // A child that was forked without an actor's stack may have a runtime of its own.
  forked_child.store(false, std::memory_order_relaxed);
  if (config.fault_scope == SMARM_FAULTS_OF_PLUGINS) {
    become_host();
    guard_signals();
    watch_exit();
  }
  try {
    return new smarm_runtime(config, make_backend(config));
  } catch (const std::exception& e) {
    set_last_error("cannot make a runtime: %s", e.what());
    return nullptr;
  }
}

void smarm_runtime_destroy(smarm_runtime* rt) { delete rt; }

int smarm_runtime_run(smarm_runtime* rt, smarm_entry entry, void* closure, smarm_exit** exit) {
  if (current_worker()) return SMARM_E_NESTED;
  return rt->run(entry, closure, exit);
}

size_t smarm_runtime_stats(smarm_runtime* rt, smarm_worker_stats* out, size_t capacity) {
  if (!rt) rt = caller_runtime();
  if (!rt) return 0;
  auto& workers = rt->workers();
  for (std::size_t i = 0; i < std::min(capacity, workers.size()); ++i)
    copy_counters(*workers[i], out[i]);
  return workers.size();
}

uint64_t smarm_runtime_live(smarm_runtime* rt) {
  if (!rt) rt = caller_runtime();
  return rt ? rt->live() : 0;
}

void smarm_runtime_crew(smarm_runtime* rt, smarm_crew_stats* out) {
  if (!rt) rt = caller_runtime();
  smarm_crew_stats s{};
  if (rt) {
    s.workers = rt->config().workers;
    const std::uint32_t crew = rt->crew();
    s.extras = crew > s.workers ? crew - s.workers : 0;
    s.blocked = rt->blocked();
    for (const auto& w : rt->workers()) s.blocked_total += w->counters.blocked.get();
  }
  fill_struct(*out, s);
}

void smarm_runtime_blocking(smarm_runtime* rt, smarm_blocking_stats* out) {
  if (!rt) rt = caller_runtime();
  const Section section(current_worker());
  fill_struct(*out, rt ? pool_of(*rt).stats() : smarm_blocking_stats{});
}
size_t smarm_runtime_blocking_owners(smarm_runtime* rt, smarm_blocking_owner* out,
                                     size_t capacity) {
  if (!rt) rt = caller_runtime();
  const Section section(current_worker());
  return rt ? pool_of(*rt).owners(out, capacity) : 0;
}

smarm_runtime* smarm_runtime_current(void) { return caller_runtime(); }

int smarm_runtime_tune(smarm_runtime* rt, uint32_t alloc_interval, uint64_t timeslice_cycles) {
  if (!rt) rt = caller_runtime();
  if (!rt) return SMARM_E_NOT_ACTOR;
  smarm_config c = rt->config();
  if (alloc_interval) c.alloc_interval = alloc_interval;
  if (timeslice_cycles) c.timeslice_cycles = timeslice_cycles;
  if (!valid(c)) return SMARM_E_LIMIT;
  // relaxed: tunables; each worker sees the new value at its next look.
  if (alloc_interval) rt->alloc_interval.store(alloc_interval, std::memory_order_relaxed);
  if (timeslice_cycles) rt->timeslice_cycles.store(timeslice_cycles, std::memory_order_relaxed);
  return SMARM_OK;
}

void smarm_set_notice_handler(smarm_notice_handler handler, void* arg) {
  set_notice_handler(handler, arg);
}
void smarm_process_check(void) {
  restore_signals();
  restore_terminate_handler();
}
void smarm_set_report_prefix(const char* prefix) { set_report_prefix(prefix ? prefix : ""); }

int smarm_runtime_tune_async_preempt(smarm_runtime* rt, uint64_t quantum_ns) {
  if (!rt) rt = caller_runtime();
  if (!rt) return SMARM_E_NOT_ACTOR;
  Section section(current_worker());
  if (!prepare_async_preemption(quantum_ns)) return SMARM_E_LIMIT;
  rt->monitor().set_quantum(quantum_ns);
  return SMARM_OK;
}

void smarm_runtime_hold(smarm_runtime* rt) { rt->hold(); }
void smarm_runtime_release(smarm_runtime* rt) { rt->release(); }

}  // extern "C"
