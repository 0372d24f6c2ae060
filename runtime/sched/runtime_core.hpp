// The runtime: its workers, what they share, and how they go idle, wake each other and stop.
//
// Idle protocol (no wake-up is lost): a worker that found nothing lists itself as idle (a
// read-modify-write on idle_count), then looks once more at everything that others may add to, then
// sleeps. Whoever adds work from outside publishes it first and reads idle_count second. Both sides
// are sequentially consistent, so one of them sees the other. One idle worker holds the poller and
// sleeps there; the others sleep on their futex word, one of them as its deputy.
//
// The watch: while some worker is busy, the holder of the poller and its deputy sleep for a few
// milliseconds at most. The holder looks for actors and timers that sit behind a long-running
// actor; the deputy takes the poller over when its holder has left it to run something long. When
// all are idle both sleep longer and longer, in the end without limit (`watch_asleep_`); who then
// leaves the idle list first rouses one of them.
//
// End: the last worker to go idle finds the runtime quiescent when no queue holds an actor, no
// timer is armed, no IO wait, blocking job or hold is pending and no command is queued. Actors
// still alive then are parked for ever and are killed; when none is left the workers stop.
//
// Foreign threads never touch an actor's state: they post commands, which a worker runs.
//
// Extra workers: when the monitor finds that a worker blocks its thread it marks it (go_blocked),
// and calls extra ones until as many are on duty and not blocked as the runtime was made with.
// Those that are on duty, blocked ones included, are the crew: all of it has to be idle for the
// end. All of this changes under the idle lock. When there are too many an extra one hands what it
// has queued to the others, once nothing is preempted on its thread, and goes off duty; timers that
// it leaves in its wheel are looked after by the others, as are those of a blocked one (stand_in).
#pragma once

#include "runtime/actor/actor.hpp"
#include "runtime/base/clock.hpp"
#include "runtime/base/spinlock.hpp"
#include "runtime/sched/extra_workers.hpp"
#include "runtime/sched/foreign_gate.hpp"
#include "runtime/sched/hibernation.hpp"
#include "runtime/sched/monitor.hpp"
#include "runtime/sched/poller.hpp"
#include "runtime/sched/run_queue.hpp"
#include "runtime/sched/worker.hpp"
#include "runtime/sched/worker_list.hpp"

#include <smarm/smarm.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace smarm {

// Work from a foreign thread. run() is called on a worker, in a section, and frees the command.
struct Command {
  Command* next = nullptr;
  void (*run)(Command*, Worker&) = nullptr;
};

class RuntimeCore {
 public:
  RuntimeCore(const smarm_config& config, std::unique_ptr<Poller> poller, Clock& clock);
  ~RuntimeCore();
  RuntimeCore(const RuntimeCore&) = delete;
  RuntimeCore& operator=(const RuntimeCore&) = delete;

  // Runs the first actor on the calling thread and the others; comes back when everything has
  // ended. SMARM_OK, or SMARM_E_LIMIT: it is running already, or a thread or the first actor could
  // not be had; last_error() says which.
  int run(smarm_entry entry, void* closure, smarm_exit** exit);

  // ---- workers ----
  Actor* find_work(Worker& w);  // waits; nullptr when the runtime stops
  void share(
      Worker& w);  // called with more than one actor queued: wakes an idle worker when that pays
  void wake_one();
  void run_commands(Worker& w);
  bool take_injected(Worker& w);  // moves a share of the inject queue to w's
  // Looks at the poller, unless another worker holds it or somebody has looked just now.
  void look_at_poller(Worker& w, std::uint64_t now_ns);
  // Some worker has blocked its thread in this run: the next two are called, on w, by its
  // maintenance and its scheduler.
  bool strained() const { return strained_.load(std::memory_order_relaxed); }
  void stand_in(Worker& w, std::uint64_t now_ns);
  void settle(Worker& w);
  // More are on duty than there should be. relaxed: a hint, but under the idle lock.
  bool surplus() const { return at_work() > config_.workers; }
  bool short_handed() const { return at_work() < config_.workers; }

  // ---- the monitor ----
  bool go_blocked(Worker& w);  // false: it is not on duty
  void come_back(Worker& w);
  Worker& add_extra();
  bool go_on_duty(Worker& w);  // false: no longer needed
  ExtraWorkers& extras() { return extras_; }

  // ---- any thread ----
  void post(Command* command);
  void hold() { holds_.fetch_add(1, std::memory_order_seq_cst); }
  void release();
  std::size_t live() const;

  const smarm_config& config() const { return config_; }
  Clock& clock() { return clock_; }
  Poller& poller() { return *poller_; }
  ForeignGate& gate() { return gate_; }
  Hibernation& hibernation() { return hibernation_; }
  Monitor& monitor() { return monitor_; }
  bool all_idle() const {
    return idle_count_.load(std::memory_order_seq_cst) == crew_.load(std::memory_order_seq_cst);
  }
  // On duty, and how many of them are blocked. Any thread; hints.
  std::uint32_t crew() const { return crew_.load(std::memory_order_relaxed); }
  std::uint32_t blocked() const { return blocked_.load(std::memory_order_relaxed); }
  std::uint64_t number() const { return number_; }  // unique in the process
  // One worker is on duty and has its actors to itself.
  bool solo() const { return solo_.load(std::memory_order_relaxed); }
  bool stopping() const { return phase_.load(std::memory_order_relaxed) == Phase::draining; }
  const WorkerList& workers() const { return workers_; }
  InjectQueue& inject() { return inject_; }

  // Live tunables, read by the slow path of the tick.
  std::atomic<std::uint32_t> alloc_interval;
  std::atomic<std::uint64_t> timeslice_cycles;
  // Some actor has waited for IO in this runtime. Set by the io floor. relaxed: a hint.
  std::atomic<bool> knows_io{false};

 private:
  enum class Phase : std::uint8_t { ready, running, draining, stopped };

  Actor* search(Worker& w);
  Actor* steal(Worker& w, bool single);
  bool idle(Worker& w);
  void list_idle(Worker& w);
  bool unlist_idle(Worker& w);
  bool work_elsewhere(const Worker& w) const;
  bool quiescent() const;
  void drain(Worker& w);
  bool sleep_in_poller(Worker& w, std::uint64_t until);
  void fire_timers_of_others(Worker& w);
  void look_after_others(Worker& w);
  void sleep_on_futex(Worker& w, std::uint64_t until);
  std::uint64_t watch_until(Worker& w, bool others_busy);
  bool nap(Worker& w, bool others_busy);
  void rouse_watch();
  void notify(Worker& w, bool polls);
  void tell(Worker& listed);
  void stop_all();
  void hand_over(Worker& w);
  void take_from_blocked(Worker& w, Worker& blocked);
  bool go_off_duty(Worker& w);
  void become_solo(Worker& w);
  void muster();
  std::uint32_t at_work() const { return crew() - blocked(); }

  const smarm_config config_;
  ForeignGate& gate_;
  const std::uint64_t number_;
  std::atomic<bool> solo_;
  Clock& clock_;
  std::unique_ptr<Poller> poller_;
  WorkerList workers_;
  Hibernation hibernation_;
  Monitor monitor_;
  ExtraWorkers extras_{*this};
  InjectQueue inject_;
  alignas(kCacheLine) std::atomic<Command*> commands_{nullptr};
  alignas(kCacheLine) std::atomic<std::uint32_t> idle_count_{0};
  std::atomic<std::uint32_t> searching_{0};
  Spinlock idle_lock_;  // rank: idle
  std::vector<Worker*> idle_;
  std::atomic<bool> poller_taken_{false};
  std::atomic<std::uint64_t> polled_ns_{0};  // when it was looked at last. relaxed: a hint
  std::atomic<bool> deputy_taken_{false};
  std::atomic<bool> watch_asleep_{false};
  // Written under the idle lock.
  std::atomic<std::uint32_t> crew_{0};
  std::atomic<std::uint32_t> blocked_{0};
  std::atomic<bool> strained_{false};
  std::atomic<std::int64_t> holds_{0};
  std::atomic<Phase> phase_{Phase::ready};
};

}  // namespace smarm
