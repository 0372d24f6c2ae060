// The io_uring backend: operations that the kernel carries out for actors, through one ring for
// each runtime.
//
// 1. An operation is one entry of the submission queue and comes to exactly one completion, whose
// user_data is the actor's control block. The actor waits for that completion whatever happens: a
// wait that ends early (by time, by a kill) asks the kernel to cancel and goes on waiting, held.
// So the kernel never writes to a stack that has been left, and no completion is stale.
// 2. While it is under way Actor::wait_value is the ticket of the wait. Who takes the completion
// writes the result to wait_since and then swaps 0 in, which says that it is there, for the ticket
// (acq_rel), and uses it. The actor swaps another ticket in when it begins to wait anew.
// 3. `lock_` (rank: ring) guards what is filled in: an entry is published, with the tail, before it
// is released. The kernel takes entries from the other end, by io_uring_enter of any thread: poll's
// and submit's, where many go at once, or that of who finds the queue full.
// 4. The completion queue is read by the holder of the poller alone.
// 5. The kernel cancels what a thread has submitted when that thread ends, as extra workers do. So
// an operation that comes back as cancelled, and was not, is asked for again.
// 6. A stack that hibernates is no place for the kernel to write to: where actors hibernate it
// tells when a read is possible and does none.
//
// 7. While a wait is under way the kernel holds the file, whatever becomes of its number. A raw
// wait is listed by number in the table, so that it can be ended when the number is found to mean
// another file: by the next one who waits there, or a socket that takes it.
//
// Not used, because they ask for one thread that does everything (IORING_SETUP_SINGLE_ISSUER,
// IORING_SETUP_DEFER_TASKRUN): actors whose worker blocks its thread would wait for it, although
// an extra worker runs the others.
#pragma once

#include "runtime/base/spinlock.hpp"
#include "runtime/base/syscall.hpp"
#include "runtime/io/backend.hpp"

#include <liburing.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace smarm {

class UringPoller final : public IoBackend {
 public:
  // Throws std::runtime_error, which says why this process has no ring.
  UringPoller(unsigned blocking_threads, unsigned workers, bool hibernates);
  ~UringPoller() override;
  UringPoller(const UringPoller&) = delete;
  UringPoller& operator=(const UringPoller&) = delete;

  bool poll(std::int64_t timeout_ns) override;
  void dispatch(Worker& worker) override;
  void submit() override;
  void kick() override;

  int adopt(int fd, FdEntry*& entry, std::uint32_t& generation) override;
  void forget(int fd, std::uint32_t generation) override;

  bool is_ring() const override { return true; }
  // Whether what is read and written may go through the ring: one worker, for a ring is served
  // under one lock of the kernel's, and no hibernation.
  bool transfers() const { return transfers_; }

  // The next three: the calling actor's, in a section; prepare(io_uring_sqe*) fills the operation
  // in.

  // Carries it out, however long that takes. A count, or an errno below zero. Not for one that is
  // being unwound.
  template <class Prepare>
  long perform(WaitKind kind, Prepare prepare);
  // Until the deadline. 0 with a count, or an errno below zero, in `result` (-ECANCELED: see 5, or
  // `closed` was set); SMARM_E_TIMEOUT; EBADF: `closed` was set; kKilled. Not for one that is being
  // unwound.
  template <class Prepare>
  int await(WaitKind kind, std::uint64_t deadline_ns, const std::atomic<bool>& closed, long& result,
            Prepare prepare);
  int await_ready(int fd, Direction direction, std::uint64_t deadline_ns,
                  const std::atomic<bool>& closed);

 private:
  int wait_until_ready(int fd, Direction direction, std::uint64_t deadline_ns) override;

  // Fills an entry in under the lock, if the file is still there.
  template <class Prepare>
  bool push(const std::atomic<bool>& closed, Prepare prepare);
  void cancel(Actor* actor);
  void cut_short(Actor& self, Ticket ticket, WaitKind kind);
  unsigned unsubmitted() const;
  bool completed() const;
  void enter(unsigned to_submit, unsigned least, std::int64_t timeout_ns);
  void evict(FdEntry& entry, const Actor* keep);

  io_uring ring_{};
  io_uring kicks_{};  // what is submitted here puts a completion into the other ring
  const bool transfers_;
  FdTable table_;  // raw waits, and what file was behind the number at the last one
  Spinlock lock_;
  Spinlock kick_lock_;  // rank: ring
  std::atomic<bool> kicked_{false};
};

// The ring of the calling actor's runtime, for a socket without an entry.
inline UringPoller& current_ring() { return static_cast<UringPoller&>(current_backend()); }

inline constexpr std::atomic<bool> kNeverClosed{false};

template <class Prepare>
bool UringPoller::push(const std::atomic<bool>& closed, Prepare prepare) {
  for (;;) {
    {
      const std::lock_guard guard(lock_);
      if (closed.load(std::memory_order_acquire)) return false;
      if (io_uring_sqe* entry = io_uring_get_sqe(&ring_)) {
        prepare(entry);
        io_uring_smp_store_release(ring_.sq.ktail, ring_.sq.sqe_tail);
        return true;
      }
    }
    submit();  // it is full
  }
}

template <class Prepare>
long UringPoller::perform(WaitKind kind, Prepare prepare) {
  Actor& self = *current_actor();
  const CountedWait counted(*current_worker());
  long result = 0;
  do {
    const Ticket ticket = begin_held_wait(self);
    std::atomic_ref(self.wait_value).store(ticket.pack(), std::memory_order_relaxed);
    push(kNeverClosed, [&](io_uring_sqe* entry) {
      prepare(entry);
      io_uring_sqe_set_data(entry, &self);
    });
    wait_held(self, ticket, kind);
    current_worker()->fetch_next();
    result = static_cast<std::int32_t>(self.wait_since);
  } while (result == -ECANCELED);
  return result;
}

template <class Prepare>
int UringPoller::await(WaitKind kind, std::uint64_t deadline, const std::atomic<bool>& closed,
                       long& result, Prepare prepare) {
  Actor& self = *current_actor();
  const std::atomic_ref value(self.wait_value);
  const CountedWait counted(*current_worker());
  Ticket ticket = begin_wait(self);
  value.store(ticket.pack(), std::memory_order_relaxed);
  const bool open = push(closed, [&](io_uring_sqe* entry) {
    prepare(entry);
    io_uring_sqe_set_data(entry, &self);
  });
  if (!open) return EBADF;
  Woken woken = wait(self, ticket, kind, deadline);
  // acquire: the result, and what the kernel has done.
  while (woken == Woken::by_ticket && value.load(std::memory_order_acquire) != 0) {
    // A late waker of an earlier wait.
    std::uint64_t before = ticket.pack();
    ticket = begin_wait(self);
    if (!value.compare_exchange_strong(before, ticket.pack(), std::memory_order_acquire)) break;
    woken = wait(self, ticket, kind, deadline);
  }
  if (value.load(std::memory_order_acquire) != 0) cut_short(self, ticket, kind);
  current_worker()->fetch_next();
  result = static_cast<std::int32_t>(self.wait_since);
  if (woken == Woken::killed) return kKilled;
  return woken == Woken::by_time && result == -ECANCELED ? SMARM_E_TIMEOUT : 0;
}

}  // namespace smarm
