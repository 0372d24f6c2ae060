// The threads of extra workers: each takes the place of a worker that blocks its thread, rests as a
// spare when it is not needed, and ends after a while of that.
//
// A worker and its thread are two things: the worker stays in the list for good, for timers and
// tickets may name it, and gets a new thread when it is needed again.
//
// Threads: call() is the monitor's; finish() that of run(), when the monitor has ended.
#pragma once

#include "runtime/sched/worker.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace smarm {

class ExtraWorkers {
 public:
  static constexpr std::size_t kMost = 64;

  explicit ExtraWorkers(RuntimeCore& runtime) : runtime_(runtime) {}
  ExtraWorkers(const ExtraWorkers&) = delete;
  ExtraWorkers& operator=(const ExtraWorkers&) = delete;

  // One more goes on duty. False: there are kMost, or no thread is to be had.
  bool call();
  void finish();  // waits for all their threads

 private:
  enum State : std::uint32_t { kSpare, kCalled, kOnDuty, kGone, kEnd };
  struct Post {
    explicit Post(Worker& w) : worker(w) {}
    Worker& worker;
    std::atomic<std::uint32_t> state{kGone};  // futex
    std::thread thread;
  };
  static void live(Post& post);
  static bool rest(Post& post);
  bool take_spare(Post& post);
  bool start(Post& post);

  RuntimeCore& runtime_;
  std::vector<std::unique_ptr<Post>> posts_;
};

}  // namespace smarm
