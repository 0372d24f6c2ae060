// The monitor: a thread beside the workers that looks at them from outside, for what no worker can
// see of itself: an actor that runs on and on without a tick.
//
// It never touches a worker's state. It compares counters that the worker writes anyway, looks
// whether the kernel says that the thread is running, and sends it SIGURG; whether the actor can be
// stopped where it is, the handler decides (fault/async_preempt.cpp). A thread that sleeps in the
// kernel is left alone: a signal would cut its system call short.
//
// When all workers have been idle for a second, or while the quantum is 0, it sleeps without limit;
// the first one that goes back to work, or the next quantum, rouses it. The idle protocol of
// runtime_core.hpp, with `asleep_` for idle_count: one side stores it and then looks for busy
// workers, the other leaves the idle list and then looks at it, all seq_cst.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace smarm {

class RuntimeCore;
class Worker;

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
  // Any thread. Throws as start does, and leaves the quantum as it was.
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
  };

  void begin();
  void run();
  void wake();
  void do_chore(std::uint64_t now_ns, bool at_once);
  void look(Worker& w, Watched& watched, std::uint64_t now_ns, std::uint64_t quantum_ns);

  RuntimeCore& runtime_;
  std::atomic<std::uint64_t> quantum_ns_;
  std::vector<Watched> watched_;
  std::uint64_t chore_ns_ = 0;          // when it was done last
  std::atomic<std::uint32_t> word_{0};  // futex: 1 roused, 2 the end
  std::atomic<bool> asleep_{false};
  std::mutex life_;       // rank: monitor
  bool started_ = false;  // by life_, as is thread_
  std::thread thread_;
};

}  // namespace smarm
