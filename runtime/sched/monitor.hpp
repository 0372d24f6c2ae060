// The monitor: a thread beside the workers that looks at them from outside, for what no worker can
// see of itself: an actor that runs on and on without a tick, and one that blocks its thread.
//
// It compares counters that the worker writes anyway. Where nothing has moved for long it asks the
// kernel what the thread does. One that runs is sent SIGURG; whether the actor can be stopped where
// it is, the handler decides (fault/async_preempt.cpp). One that sleeps in a system call is never
// signalled, for that would cut its call short.
//
// Blocked: an actor is current, no section is open, and the thread has been asleep in a system call
// for kBlockedAfter. Then an extra worker takes its place, and others may take what is the worker's
// alone otherwise (its overflow; in a runtime of one worker everything):
//   1. go_blocked: from here on the worker does not become solo again by itself.
//   2. prepare_to_lend, and a look: it still sleeps. So it will see that, and all of its actors
//   that
//      left their stacks as those of a solo runtime do will be resumed by its scheduler.
//   3. lend, and a look: it still sleeps. So it follows the shared protocol when it wakes up. Had
//   it
//      woken up in between it would follow the one or the other, alone; either is right then.
//   4. open, and extra workers are called.
// Each look is a full barrier for both (sched/blocked.hpp), and no operation of the runtime goes
// across such a sleep, for a call of user code is where it is. The worker itself pays nothing, and
// does nothing when it comes back.
//
// When all workers have been idle for a second it sleeps without limit; the first one that goes
// back to work, or a new quantum, rouses it. The idle protocol of runtime_core.hpp, with `asleep_`
// for idle_count: one side stores it and then looks for busy workers, the other leaves the idle
// list and then looks at it, all seq_cst.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace smarm {

class RuntimeCore;
class Worker;
struct SleepingCall;

class Monitor {
 public:
  // Called about once a second while anybody is busy, and before it sleeps without limit. Set
  // before the first runtime is made.
  static void set_chore(void (*chore)());

  // quantum_ns: how long an actor may run without a tick; 0: as long as it likes.
  Monitor(RuntimeCore& runtime, std::uint64_t quantum_ns)
      : runtime_(runtime), quantum_ns_(quantum_ns) {}
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  void start();  // throws std::system_error when there is no thread to be had
  void stop();   // waits for its end
  // Any thread. relaxed: a tunable, which the next look and the signal's handler read.
  std::uint64_t quantum_ns() const { return quantum_ns_.load(std::memory_order_relaxed); }
  // Any thread.
  void set_quantum(std::uint64_t ns);
  // A worker that was idle is about to run an actor.
  void rouse() {
    if (asleep_.load(std::memory_order_seq_cst)) [[unlikely]]
      wake();
  }

 private:
  struct Watched {
    std::uint64_t activity = 0;
    std::uint64_t since_ns = 0;  // when it began at the latest
    std::uint64_t looked_ns = 0;
    std::uint64_t signalled_ns = 0;  // when the last signal was sent
    bool blocked = false;
    bool awake = false;  // blocked, and seen running since
  };

  void run();
  void wake();
  void do_chore(std::uint64_t now_ns, bool at_once);
  void look(Worker& w, Watched& watched, std::uint64_t now_ns, std::uint64_t quantum_ns);
  bool lend(Worker& w, Watched& watched, std::uint64_t now_ns);
  void look_at_blocked(Worker& w, Watched& watched);
  void report(Worker& w, const Watched& watched, const SleepingCall& call, std::uint64_t now_ns);
  void report_once(bool& reported, std::uint32_t kind);
  void call_extras();

  RuntimeCore& runtime_;
  std::atomic<std::uint64_t> quantum_ns_;  // relaxed: a tunable
  bool blind_ = false;                     // the kernel does not tell which threads sleep
  bool said_blind_ = false, said_no_extra_ = false;
  std::vector<Watched> watched_;
  std::uint64_t chore_ns_ = 0;          // when it was done last
  std::atomic<std::uint32_t> word_{0};  // futex: 1 roused, 2 the end
  std::atomic<bool> asleep_{false};
  std::thread thread_;
};

}  // namespace smarm
