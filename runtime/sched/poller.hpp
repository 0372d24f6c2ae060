// Where idle workers wait. The scheduler knows this interface; the io floor implements it.
#pragma once

#include <cstdint>

namespace smarm {

class Worker;

// Threads: poll and dispatch by the one worker that holds the poller; submit by any worker; kick
// from any thread.
class Poller {
 public:
  virtual ~Poller() = default;
  // Blocks at most that long (0: looks; negative: for ever) and keeps what happened for dispatch.
  // True when there is something to dispatch.
  virtual bool poll(std::int64_t timeout_ns) = 0;
  // Wakes the actors that wait for what happened, onto the calling worker's queue.
  virtual void dispatch(Worker& worker) = 0;
  // Hands the kernel what actors have asked for since, where that is done in batches: poll does it
  // too, and this is for workers that do not hold the poller.
  virtual void submit() {}
  // Makes the present or next poll return.
  virtual void kick() = 0;
};

}  // namespace smarm
