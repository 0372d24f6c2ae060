// QuietLock: a std::mutex held by code that may run on a worker.
//
// An actor that is preempted while it holds an OS mutex stops every thread that wants it, the
// worker that should resume it among them. So the holder is not preempted: not inside operator new
// and not by a signal. Hold it for a few lines, never across a call that may park.
#pragma once

#include <smarm/actor.hpp>

#include <mutex>

namespace smarmd {

class QuietLock {
 public:
  explicit QuietLock(std::mutex& mutex) : lock_(mutex) {}

 private:
  smarm::NoPreempt quiet_;  // before the lock, and gone after it
  std::lock_guard<std::mutex> lock_;
};

}  // namespace smarmd
