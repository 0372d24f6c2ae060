// Threads that may block, for block_on_io. Ends with its runtime.
//
// Jobs queue per owner, which is the account of the actor that waits (0: none). Owners with queued
// jobs take turns, one job each; the jobs of one are run in their order.
//
// Under the mutex, and whenever it is free:
//
// 1. A thread runs a job (running_), waits for a call (idle_: not called yet; called_: on its way),
//    or is about to look at the queues. threads_ counts all of these and never exceeds limit_.
// 2. The last reserved_ threads are for owners that have no job running: another one begins a job
//    only while fewer than limit_ - reserved_ run. So of two or more threads no owner ever has all,
//    but for owner 0, which has no such limit. reserved_ is an eighth of the limit, at least one,
//    and none of a single thread.
// 3. While a queued job may start by 2, some thread is about to look; or all of them run jobs, and
//    another could not be made. Who queues a job and who takes one sees to that, and calls no more
//    threads than there are jobs queued; who has ended one looks himself. So a thread is made only
//    for a job that would wait otherwise.
// 4. An owner is among the turns exactly while it has queued jobs. One that may not start a job
//    keeps its place there while others pass.
// 5. A queued job is on the stack of the actor that waits for it. That wait ends by the job alone
//    and no such stack hibernates, so queueing allocates nothing, and the job is there until its
//    thread wakes the actor. All is counted before that: who has waited finds its job among those
//    that are done.
//
// A thread that has idled for kIdleTime ends.
#pragma once

#include "runtime/actor/state.hpp"
#include "runtime/sched/blocking_job.hpp"

#include <smarm/smarm.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace smarm {

class RuntimeCore;

class BlockingPool {
 public:
  explicit BlockingPool(unsigned limit);
  ~BlockingPool();  // finishes what is queued
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  // Parks the calling actor until fn(arg) has run on a thread of the pool, or failed there. In a
  // section. 0 or an errno when no thread could be made.
  int run(void (*fn)(void*), void* arg, JobFailure& failure);

  // Any thread; an actor in a section.
  smarm_blocking_stats stats() const;
  std::size_t owners(smarm_blocking_owner* out, std::size_t capacity) const;

 private:
  struct Job {
    void (*fn)(void*);
    void* arg;
    JobFailure& failure;
    RuntimeCore& runtime;
    Ticket ticket;
    Job* next = nullptr;
  };
  // First in, first out, made of the entries themselves. A link is what points to an entry.
  template <class T>
  struct Queue {
    T* first = nullptr;
    T** end = &first;
    Queue() = default;
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;
    void push(T& entry) {
      entry.next = nullptr;
      *end = &entry;
      end = &entry.next;
    }
    T& take(T*& link) {
      T& entry = *link;
      link = entry.next;
      if (end == &entry.next) end = &link;
      return entry;
    }
  };
  struct Owner {
    std::uint64_t account = 0;
    Queue<Job> jobs;
    std::uint32_t running = 0, queued = 0;
    std::uint64_t done = 0;
    Owner* next = nullptr;   // among the turns
    Owner* older = nullptr;  // in the list of all
  };

  void thread_main();
  void run_job_of(Owner& owner, std::unique_lock<std::mutex>& lock);
  bool await_call(std::unique_lock<std::mutex>& lock);  // false: the thread is to end

  Owner& owner_of(std::uint64_t account);
  bool may_start(const Owner& owner) const;
  Owner** next_turn();  // the link to the first owner that may start a job; nullptr: none
  unsigned looking() const { return threads_ - running_ - idle_; }
  bool call_thread(unsigned jobs);
  void start_thread();

  const unsigned limit_, reserved_;
  mutable std::mutex mutex_;  // rank: blocking pool
  std::condition_variable work_, gone_;
  Owner nobody_;              // account 0: the first that was made, the last in the list
  Owner* owners_ = &nobody_;  // all that have or had jobs
  Queue<Owner> turns_;
  unsigned threads_ = 0, idle_ = 0, called_ = 0, running_ = 0, queued_ = 0;
  std::uint64_t done_ = 0;
  bool ending_ = false;
};

}  // namespace smarm
