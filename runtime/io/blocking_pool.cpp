#include "runtime/io/blocking_pool.hpp"

#include "runtime/sched/park.hpp"

#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <chrono>
#include <thread>

namespace smarm {

namespace {
constexpr auto kIdleTime = std::chrono::seconds(5);
}

BlockingPool::~BlockingPool() {
  std::unique_lock lock(mutex_);
  ending_ = true;
  work_.notify_all();
  gone_.wait(lock, [&] { return threads_ == 0; });
}

std::size_t BlockingPool::threads() const {
  std::lock_guard lock(mutex_);
  return threads_;
}

std::size_t BlockingPool::queued() const {
  std::lock_guard lock(mutex_);
  return queue_.size();
}

// Signals go to threads that expect them, not to one in the middle of a blocking call.
bool BlockingPool::start_thread() {
  sigset_t all, old;
  sigfillset(&all);
  // Faults are its own: a job may reach into a stack that hibernates.
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  bool started = true;
  try {
    std::thread([this] {
      thread_main();
    }).detach();  // the destructor waits for threads_ to reach 0
    ++threads_;
  } catch (const std::system_error&) {
    started = false;
  }
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  return started;
}

void BlockingPool::thread_main() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (queue_.empty()) {
      if (ending_) break;
      ++idle_;
      const bool work = work_.wait_for(lock, kIdleTime, [&] { return ending_ || !queue_.empty(); });
      --idle_;
      if (!work) break;
      continue;
    }
    Job job = queue_.front();
    queue_.pop_front();
    lock.unlock();
    run_job(job.fn, job.arg, *job.failure);
    wake(job.ticket);        // both lie on the actor's stack: not touched from here on
    job.runtime->release();  // it held the runtime, so that it is still there
    lock.lock();
  }
  --threads_;
  gone_.notify_all();  // under the lock: the destructor may run as soon as it is free
}

int BlockingPool::run(void (*fn)(void*), void* arg, JobFailure& failure) {
  Actor& self = *current_actor();
  if (self.dying) {  // it cannot wait any more, but a destructor may need its job done
    OutsideSection user_code;
    fn(arg);
    return 0;
  }
  RuntimeCore& rt = current_worker()->runtime;
  Ticket ticket{};
  {
    std::lock_guard lock(mutex_);
    if (idle_ <= queue_.size() && threads_ < limit_ && !start_thread() && threads_ == 0)
      return EAGAIN;
    ticket = begin_held_wait(self);
    rt.hold();
    queue_.push_back({fn, arg, &rt, ticket, &failure});
  }
  work_.notify_one();
  wait_held(self, ticket, WaitKind::blocking);
  return 0;
}

}  // namespace smarm
