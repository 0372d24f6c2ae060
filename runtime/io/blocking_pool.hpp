// Threads that may block, for block_on_io. Grows to a limit while jobs wait, shrinks after idling,
// ends with its owner.
#pragma once

#include "runtime/actor/state.hpp"
#include "runtime/sched/blocking_job.hpp"

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>

namespace smarm {

class RuntimeCore;

class BlockingPool {
 public:
  explicit BlockingPool(unsigned limit) : limit_(limit ? limit : 1) {}
  ~BlockingPool();  // finishes what is queued
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  struct Job {
    void (*fn)(void*) = nullptr;
    void* arg = nullptr;
    RuntimeCore* runtime = nullptr;
    Ticket ticket{};
    JobFailure* failure = nullptr;
  };
  // Parks the calling actor until job has run on a thread of the pool, or failed there. In a
  // section. 0 or an errno when no thread could be made.
  int run(void (*fn)(void*), void* arg, JobFailure& failure);

  std::size_t threads() const;
  std::size_t queued() const;

 private:
  void thread_main();
  bool start_thread();

  const unsigned limit_;
  mutable std::mutex mutex_;  // rank: blocking pool
  std::condition_variable work_, gone_;
  std::deque<Job> queue_;
  unsigned threads_ = 0, idle_ = 0;
  bool ending_ = false;
};

}  // namespace smarm
