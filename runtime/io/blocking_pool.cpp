#include "runtime/io/blocking_pool.hpp"

#include "runtime/sched/accounts.hpp"
#include "runtime/sched/park.hpp"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>

namespace smarm {

namespace {
constexpr auto kIdleTime = std::chrono::seconds(2);
}

BlockingPool::BlockingPool(unsigned limit)
    : limit_(std::max(limit, 1u)), reserved_(limit_ == 1 ? 0 : std::max(limit_ / 8, 1u)) {}

BlockingPool::~BlockingPool() {
  {
    std::unique_lock lock(mutex_);
    ending_ = true;
    work_.notify_all();
    gone_.wait(lock, [&] { return threads_ == 0; });
  }
  while (owners_ != &nobody_) {
    Owner* o = owners_;
    owners_ = o->older;
    delete o;
  }
}

smarm_blocking_stats BlockingPool::stats() const {
  std::lock_guard lock(mutex_);
  smarm_blocking_stats s{};
  s.limit = limit_;
  s.threads = threads_;
  s.idle = threads_ - running_;
  s.running = running_;
  s.queued = queued_;
  s.done_total = done_;
  return s;
}

std::size_t BlockingPool::owners(smarm_blocking_owner* out, std::size_t capacity) const {
  std::lock_guard lock(mutex_);
  std::size_t n = 0;
  for (const Owner* o = owners_; o; o = o->older) {
    if (o->done == 0 && o->running == 0 && o->queued == 0) continue;  // nobody_ at first
    if (n < capacity) out[n] = {o->account, o->running, o->queued, o->done};
    ++n;
  }
  return n;
}

// Without memory for a new one the account's jobs are nobody's for the time being: they are run.
BlockingPool::Owner& BlockingPool::owner_of(std::uint64_t account) {
  for (Owner* o = owners_; o; o = o->older) {
    if (o->account == account) return *o;
  }
  // What an account that has been closed has left is used again: there are no more than were open
  // at once.
  for (Owner* o = owners_; o != &nobody_; o = o->older) {
    if (o->running || o->queued || find_account(o->account)) continue;
    o->account = account;
    o->done = 0;
    return *o;
  }
  Owner* o = new (std::nothrow) Owner;
  if (!o) return nobody_;
  o->account = account;
  o->older = owners_;
  owners_ = o;
  return *o;
}

bool BlockingPool::may_start(const Owner& owner) const {
  const bool unlimited = owner.account == 0 || owner.running == 0;
  return running_ < (unlimited ? limit_ : limit_ - reserved_);
}

BlockingPool::Owner** BlockingPool::next_turn() {
  for (Owner** link = &turns_.first; *link; link = &(*link)->next) {
    if (may_start(**link)) return link;
  }
  return nullptr;
}

// Sees to it that a thread looks at the queues, where so many jobs are, and that no more do than
// there are jobs. True: the caller notifies one when it has unlocked.
bool BlockingPool::call_thread(unsigned jobs) {
  if (looking() >= jobs) return false;
  if (idle_ > 0) {
    --idle_;
    ++called_;
    return true;
  }
  if (threads_ < limit_ && !ending_) start_thread();
  return false;
}

void BlockingPool::start_thread() {
  // Signals go to threads that expect them, not to one in the middle of a blocking call.
  sigset_t all, old;
  sigfillset(&all);
  // Faults are its own: a job may reach into a stack that hibernates.
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  // Not a std::thread, which allocates and throws.
  const auto entry = [](void* pool) -> void* {
    static_cast<BlockingPool*>(pool)->thread_main();
    return nullptr;
  };
  pthread_t thread;
  if (pthread_create(&thread, nullptr, entry, this) == 0) {
    pthread_detach(thread);  // the destructor waits for threads_ to reach 0
    ++threads_;
  }
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

void BlockingPool::thread_main() {
  std::unique_lock lock(mutex_);
  do {
    while (Owner** turn = next_turn()) run_job_of(turns_.take(*turn), lock);
  } while (await_call(lock));
  --threads_;
  gone_.notify_all();  // under the lock: the destructor may run as soon as it is free
}

bool BlockingPool::await_call(std::unique_lock<std::mutex>& lock) {
  if (ending_) return false;
  ++idle_;
  work_.wait_for(lock, kIdleTime, [&] { return ending_ || called_ > 0; });
  if (called_ > 0) {
    --called_;  // whoever is called first: all of them are alike
    return true;
  }
  --idle_;
  return false;
}

// The owner has just left the turns.
void BlockingPool::run_job_of(Owner& owner, std::unique_lock<std::mutex>& lock) {
  Job& job = owner.jobs.take(owner.jobs.first);
  --owner.queued, --queued_;
  ++owner.running, ++running_;
  if (owner.queued > 0) turns_.push(owner);
  const bool call = next_turn() && call_thread(queued_);
  lock.unlock();
  if (call) work_.notify_one();

  run_job(job.fn, job.arg, job.failure);

  lock.lock();
  --owner.running, --running_;
  ++owner.done, ++done_;
  lock.unlock();
  RuntimeCore& runtime = job.runtime;
  wake(job.ticket);   // the job is not touched from here on
  runtime.release();  // the job held the runtime, so that it is still there
  lock.lock();
}

int BlockingPool::run(void (*fn)(void*), void* arg, JobFailure& failure) {
  Actor& self = *current_actor();
  if (self.dying) {  // it cannot wait any more, but a destructor may need its job done
    OutsideSection user_code;
    fn(arg);
    return 0;
  }
  RuntimeCore& rt = current_worker()->runtime;
  // relaxed: its own, written before its first turn.
  const std::uint64_t account = account_number_of(self.group.load(std::memory_order_relaxed));
  std::unique_lock lock(mutex_);
  Owner& owner = owner_of(account);
  const bool call = may_start(owner) && call_thread(queued_ + 1);
  if (threads_ == 0) return EAGAIN;
  Job job{fn, arg, failure, rt, begin_held_wait(self)};
  rt.hold();
  owner.jobs.push(job);
  if (owner.queued == 0) turns_.push(owner);
  ++owner.queued, ++queued_;
  lock.unlock();
  if (call) work_.notify_one();
  wait_held(self, job.ticket, WaitKind::blocking);
  return 0;
}

}  // namespace smarm
