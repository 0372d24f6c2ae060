// The io_uring backend: operations that the kernel carries out for actors, through one ring for
// each runtime.
//
// 1. An operation is one entry of the submission queue and comes to exactly one completion, whose
// user_data names the actor. The actor waits for that completion whatever happens: a wait that ends
// early (by time, by a kill) asks the kernel to cancel and goes on waiting, held. So the kernel
// never writes to a stack that has been left, and no completion is stale.
// 2. While it is under way Actor::wait_value is the ticket of the wait. Who takes the completion
// writes the result to wait_since and then swaps 0 in, which says that it is there, for the ticket
// (acq_rel), and uses it. The actor swaps another ticket in when it begins to wait held. Each
// ticket has a wait number of its own.
// 3. The kernel does not find an operation that is about to be tried or armed: a cancel that found
// none is repeated while the ticket that it was made for is still in wait_value.
// 4. Who waits for a descriptor is listed in its entry (FdEntry::waiters), by whatever number the
// file had: that is how the waits of a socket are ended that is closed, and raw ones when the
// number is found to mean another file, by the next one who waits there or a socket that takes it.
// (While it waits the kernel holds the file, whatever becomes of the number.) Of a raw number the
// entry's generation is what tells its file from others.
// 5. `lock_` (rank: ring) guards what is filled in: an entry is published, with the tail, before it
// is released. The kernel takes entries from the other end, by io_uring_enter of any thread: poll's
// and submit's, where many go at once, or that of who finds the queue full.
// 6. The completion queue is read by the holder of the poller alone.
// 7. What a thread has submitted completes on that thread, in its next system call or interrupt:
// not while it sleeps uninterruptibly (a page read from a disk, vfork). It is cancelled when the
// thread ends, as extra workers do: an operation that comes back as cancelled, and was not, is
// asked for again.
// 8. A stack that hibernates is no place for the kernel to write to: where actors hibernate it
// tells when a read is possible and does none.
//
// Not used, because they ask for one thread that does everything (IORING_SETUP_SINGLE_ISSUER,
// IORING_SETUP_DEFER_TASKRUN): actors whose worker blocks its thread, in whatever call, would wait
// for it, although an extra worker runs the others.
#pragma once

#include "runtime/base/assert.hpp"
#include "runtime/base/spinlock.hpp"
#include "runtime/base/syscall.hpp"
#include "runtime/io/backend.hpp"

#include <liburing.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
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

  // The next three: the calling actor's, which is not being unwound, in a section;
  // prepare(io_uring_sqe*) fills the operation in.

  // Carries it out, however long that takes. A count, or an errno below zero. `repeats`: it may be
  // done once more when it comes back as cancelled (7).
  template <class Prepare>
  long perform(WaitKind kind, Prepare prepare, bool repeats = true);
  // Until the deadline. 0 with a count, or an errno below zero, in `result` (-ECANCELED: see 7, or
  // evict()); SMARM_E_TIMEOUT; EBADF: `closed` was set; kKilled.
  template <class Prepare>
  int await(FdEntry& entry, Direction direction, std::uint64_t deadline_ns,
            const std::atomic<bool>& closed, long& result, Prepare prepare);
  int await_ready(int fd, FdEntry& entry, Direction direction, std::uint64_t deadline_ns,
                  const std::atomic<bool>& closed);

 private:
  int wait_until_ready(int fd, Direction direction, std::uint64_t deadline_ns) override;

  // Fills an entry in under the lock.
  template <class Prepare>
  void push(Prepare prepare);
  bool push_kick();
  void cancel(Ticket ticket);
  void cancel_again(std::uint64_t user_data);
  void cut_short(Actor& self, Ticket ticket, WaitKind kind);
  unsigned unsubmitted() const;
  bool completed() const;
  void enter(unsigned to_submit, unsigned least, std::int64_t timeout_ns);
  void evict(FdEntry& entry);

  io_uring ring_{};
  io_uring kicks_{};  // what is submitted here puts a completion into the other ring
  const bool transfers_;
  FdTable table_;
  Spinlock lock_;
  Spinlock kick_lock_;  // rank: ring
  std::atomic<bool> kicked_{false};
};

// The ring of the calling actor's runtime, for a socket without an entry.
inline UringPoller& current_ring() { return static_cast<UringPoller&>(current_backend()); }

inline constexpr std::atomic<bool> kNeverClosed{false};

// Of so many bytes: the kernel counts what one operation transfers in 32 bits.
inline unsigned in_one_operation(std::size_t size) {
  return static_cast<unsigned>(std::min<std::size_t>(size, std::size_t{1} << 30));
}

// user_data. 0 is ignored, 1 a kick.
inline std::uint64_t operation_of(const Actor& a) {
  return reinterpret_cast<std::uint64_t>(&a) >> 6;
}
inline long result_of(Actor& a) {
  return static_cast<std::int32_t>(std::atomic_ref(a.wait_since).load(std::memory_order_relaxed));
}
inline constexpr std::uint64_t kCancel = std::uint64_t{1} << 63;  // and a ticket

// On the list of those who wait for a descriptor, unless it was closed.
class Listed {
 public:
  Listed(FdEntry& entry, Direction d, Actor& self, const std::atomic<bool>& closed)
      : entry_(entry), direction_(d), self_(self) {
    const std::lock_guard guard(entry_.lock);
    is_ = !closed.load(std::memory_order_acquire);
    if (is_) entry_.waiters[direction_].append(self_);
  }
  ~Listed() {
    if (!is_) return;
    const std::lock_guard guard(entry_.lock);
    entry_.waiters[direction_].remove(self_);
  }
  Listed(const Listed&) = delete;
  Listed& operator=(const Listed&) = delete;
  explicit operator bool() const { return is_; }

 private:
  FdEntry& entry_;
  const Direction direction_;
  Actor& self_;
  bool is_ = false;
};

template <class Prepare>
void UringPoller::push(Prepare prepare) {
  for (;;) {
    {
      const std::lock_guard guard(lock_);
      if (io_uring_sqe* entry = io_uring_get_sqe(&ring_)) {
        prepare(entry);
        io_uring_smp_store_release(ring_.sq.ktail, ring_.sq.sqe_tail);
        return;
      }
    }
    submit();  // it is full
  }
}

template <class Prepare>
long UringPoller::perform(WaitKind kind, Prepare prepare, bool repeats) {
  Actor& self = *current_actor();
  const CountedWait counted(*current_worker());
  constexpr int kMost = 4;  // a file system may mean it
  long result = 0;
  for (int i = 0; i < (repeats ? kMost : 1); ++i) {
    const Ticket ticket = begin_held_wait(self);
    self.wait_value.store(ticket.pack(), std::memory_order_relaxed);
    push([&](io_uring_sqe* entry) {
      prepare(entry);
      io_uring_sqe_set_data64(entry, operation_of(self));
    });
    wait_held(self, ticket, kind);
    current_worker()->fetch_next();
    result = result_of(self);
    if (result != -ECANCELED) break;
  }
  return result;
}

template <class Prepare>
int UringPoller::await(FdEntry& entry, Direction d, std::uint64_t deadline,
                       const std::atomic<bool>& closed, long& result, Prepare prepare) {
  Actor& self = *current_actor();
  const CountedWait counted(*current_worker());
  const Ticket ticket = begin_own_wait(self);
  self.wait_value.store(ticket.pack(), std::memory_order_relaxed);
  const Listed listed(entry, d, self, closed);
  if (!listed) return EBADF;
  push([&](io_uring_sqe* sqe) {
    prepare(sqe);
    io_uring_sqe_set_data64(sqe, operation_of(self));
  });
  const WaitKind kind = wait_kind(d);
  const Woken woken = wait(self, ticket, kind, deadline);
  // acquire: the result, and what the kernel has done. By its ticket nothing else ends this wait.
  if (self.wait_value.load(std::memory_order_acquire) != 0) {
    SMARM_ASSERT(woken != Woken::by_ticket);
    cut_short(self, ticket, kind);
  }
  current_worker()->fetch_next();
  result = result_of(self);
  if (woken == Woken::killed) return kKilled;
  const bool was_cut = result == -ECANCELED || result == -EINTR;
  return woken == Woken::by_time && was_cut ? SMARM_E_TIMEOUT : 0;
}

}  // namespace smarm
