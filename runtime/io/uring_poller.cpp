#include "runtime/io/uring_poller.hpp"

#include "runtime/base/assert.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace smarm {

namespace {

constexpr unsigned kEntries = 1024, kCompletions = 8192, kKickEntries = 4;
constexpr std::uint64_t kIgnored = 0, kKick = 1;  // user_data

std::string reason(int error) {
  switch (error) {
    case ENOSYS: return "the kernel has no io_uring, or what confines this process hides it";
    case EPERM:
      return "it is forbidden here: see the sysctl kernel.io_uring_disabled, or the system call "
             "filter of the unit or container";
    case EINVAL: return "the kernel is older than Linux 5.19";
    case ENOMEM: return "no memory for it; before Linux 5.12 that is a matter of LimitMEMLOCK";
    case EMFILE: return "no descriptor is left for it; raise LimitNOFILE";
    default: return std::error_code(error, std::system_category()).message();
  }
}

void make(io_uring& ring, unsigned entries, unsigned completions, unsigned flags) {
#if SMARM_VALGRIND
  throw std::runtime_error("no io_uring: memcheck does not see what the kernel writes");
#endif
  io_uring_params params{};
  params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL | flags;
  params.cq_entries = completions;
  const int error = -io_uring_queue_init_params(entries, &ring, &params);
  if (error > 0) throw std::runtime_error("no io_uring: " + reason(error));
  // Each place of the queue has its own entry, for ever: only the tail is published. (A later
  // liburing has the kernel do without the table.)
  for (unsigned i = 0; ring.sq.array && i < ring.sq.ring_entries; ++i) ring.sq.array[i] = i;
}

template <class T>
T load(const T* shared, std::memory_order order) {
  return std::atomic_ref(*const_cast<T*>(shared)).load(order);
}

}  // namespace

// With one worker completions are looked for where it enters the kernel anyway. With several one
// that computes would keep those that it submitted from the others, who sleep: it is interrupted.
UringPoller::UringPoller(unsigned blocking_threads, unsigned workers, bool hibernates)
    : IoBackend(blocking_threads), transfers_(workers == 1 && !hibernates) {
  // Since Linux 5.19, as cancelling by descriptor, which nothing else shows.
  constexpr unsigned cooperative = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  make(kicks_, kKickEntries, 2 * kKickEntries, cooperative);
  try {
    make(ring_, kEntries, kCompletions, workers == 1 ? cooperative : 0);
    // As many threads of the kernel's for what may take long as the pool would have.
    unsigned most[2] = {blocking_threads, 0};
    io_uring_register_iowq_max_workers(&ring_, most);
  } catch (...) {
    io_uring_queue_exit(&kicks_);
    throw;
  }
}

UringPoller::~UringPoller() {
  io_uring_queue_exit(&ring_);
  io_uring_queue_exit(&kicks_);
}

unsigned UringPoller::unsubmitted() const {
  return load(ring_.sq.ktail, std::memory_order_relaxed) -
         load(ring_.sq.khead, std::memory_order_relaxed);
}

// acquire: the completions.
bool UringPoller::completed() const {
  return load(ring_.cq.ktail, std::memory_order_acquire) != *ring_.cq.khead;
}

// What does not go through is left as it is: the next call finds it.
void UringPoller::enter(unsigned to_submit, unsigned least, std::int64_t timeout_ns) {
  __kernel_timespec limit{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  io_uring_getevents_arg arg{};
  arg.sigmask_sz = _NSIG / 8;
  if (timeout_ns > 0) arg.ts = reinterpret_cast<std::uint64_t>(&limit);
  const long n = raw_syscall(SYS_io_uring_enter, ring_.ring_fd, to_submit, least,
                             IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof arg);
  SMARM_ASSERT(n >= 0 || n == -EINTR || n == -ETIME || n == -EAGAIN || n == -EBUSY ||
               n == -ENOMEM || n == -EBADR);
}

// Who could not is no holder of the poller, and may sleep now: the holder is to try.
void UringPoller::submit() {
  const unsigned n = unsubmitted();
  if (n == 0) return;
  const long taken = raw_syscall(SYS_io_uring_enter, ring_.ring_fd, n, 0, 0, nullptr, 0);
  if (taken < static_cast<long>(n) && unsubmitted() != 0) kick();
}

bool UringPoller::poll(std::int64_t timeout_ns) {
  const unsigned waiting = unsubmitted();
  const unsigned least = timeout_ns != 0 && !completed();
  const unsigned work = IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN;
  if (waiting || least || (load(ring_.sq.kflags, std::memory_order_relaxed) & work))
    enter(waiting, least, timeout_ns);
  return completed();
}

void UringPoller::dispatch(Worker& w) {
  unsigned head = 0, taken = 0;
  io_uring_cqe* completion = nullptr;
  io_uring_for_each_cqe(&ring_, head, completion) {
    ++taken;
    if (completion->user_data == kIgnored) continue;
    if (completion->user_data == kKick) {
      // acq_rel: what was done before the kick is seen by who was kicked.
      kicked_.exchange(false, std::memory_order_acq_rel);
      continue;
    }
    if (completion->user_data & kCancel) {
      cancel_again(completion->user_data);
      continue;
    }
    auto& actor = *reinterpret_cast<Actor*>(completion->user_data << 6);
    // relaxed: the exchange behind it publishes it. Atomic: what orders it behind the actor's last
    // look went through the kernel.
    std::atomic_ref(actor.wait_since)
        .store(static_cast<std::uint32_t>(completion->res), std::memory_order_relaxed);
    const std::uint64_t ticket = actor.wait_value.exchange(0, std::memory_order_acq_rel);
    w.wake(Ticket::unpack(ticket));
  }
  io_uring_cq_advance(&ring_, taken);
}

// From another ring: what waits in this one for its workers must not be submitted by a stranger,
// whose end would cancel it. Only failures come to that ring's completions. Every kick has an entry
// of its own: the kernel frees the places of a call's entries when it has carried all of them out,
// and by then the worker may have been woken, have cleared the mark and sleep again.
void UringPoller::kick() {
  if (kicked_.exchange(true, std::memory_order_acq_rel)) return;
  // Once more when it was disturbed or memory was short, or the queue full, which the call empties;
  // a thread that may not enter a ring, by a filter of its own, cannot kick, and leaves it to the
  // next one, as those do who meanwhile left it to this one.
  bool pushed = false;
  long n = 0;
  do {
    if (!pushed) pushed = push_kick();
    n = raw_syscall(SYS_io_uring_enter, kicks_.ring_fd, kKickEntries, 0, 0, nullptr, 0);
  } while (n < 0 ? n == -EINTR || n == -EAGAIN || n == -ENOMEM || n == -EBUSY : !pushed);
  const std::lock_guard guard(kick_lock_);
  const unsigned failed = io_uring_cq_ready(&kicks_);
  io_uring_cq_advance(&kicks_, failed);
  if (n < 0 || failed) kicked_.store(false, std::memory_order_release);
}

// False: the queue is full.
bool UringPoller::push_kick() {
  const std::lock_guard guard(kick_lock_);
  io_uring_sqe* entry = io_uring_get_sqe(&kicks_);
  if (!entry) return false;
  io_uring_prep_msg_ring(entry, ring_.ring_fd, 0, kKick, 0);
  io_uring_sqe_set_flags(entry, IOSQE_CQE_SKIP_SUCCESS);
  io_uring_sqe_set_data64(entry, kIgnored);
  io_uring_smp_store_release(kicks_.sq.ktail, kicks_.sq.sqe_tail);
  return true;
}

// ---- waits ----

// One that fails comes back to the completion queue, as its ticket.
void UringPoller::cancel(Ticket ticket) {
  push([&](io_uring_sqe* entry) {
    io_uring_prep_cancel64(entry, operation_of(ticket.actor()), 0);
    io_uring_sqe_set_flags(entry, IOSQE_CQE_SKIP_SUCCESS);
    io_uring_sqe_set_data64(entry, ticket.pack() | kCancel);
  });
}

void UringPoller::cancel_again(std::uint64_t user_data) {
  Actor& a = Ticket::unpack(user_data).actor();
  const std::uint64_t ticket = a.wait_value.load(std::memory_order_acquire);
  if ((ticket | kCancel) == user_data) cancel(Ticket::unpack(ticket));
}

// Whatever it comes to, it has ended behind this.
void UringPoller::cut_short(Actor& self, Ticket ticket, WaitKind kind) {
  const Ticket held = begin_held_wait(self);
  std::uint64_t before = ticket.pack();
  if (self.wait_value.compare_exchange_strong(before, held.pack(), std::memory_order_acq_rel)) {
    cancel(held);
    wait_held(self, held, kind);
  } else {
    self.word.fetch_and(~state_word::kHold, std::memory_order_acq_rel);
  }
}

// The kernel's polls tell of a peer that has closed its side whether that was asked for or not. One
// that wants to write to it learns nothing by waiting again, and looks from time to time.
int UringPoller::await_ready(int fd, FdEntry& entry, Direction d, std::uint64_t deadline,
                             const std::atomic<bool>& closed) {
  const unsigned wanted = d == kReadable ? POLLIN | POLLRDHUP : POLLOUT;
  for (Naps naps;;) {
    long result = 0;
    const int status = await(entry, d, deadline, closed, result,
                             [&](io_uring_sqe* sqe) { io_uring_prep_poll_add(sqe, fd, wanted); });
    if (status != 0) return status;
    if (result < 0) return static_cast<int>(-result);
    if (static_cast<unsigned>(result) & (wanted | POLLERR | POLLHUP)) return 0;
    if (int over = naps.take(deadline)) return over;
  }
}

// ---- raw file descriptors ----

namespace {

// What tells one file from another, in short: 32 bits of it, and of some kinds (an eventfd, a
// timerfd) all are alike. 0, or an errno.
int identify(int fd, std::uint32_t& file) {
  struct stat s{};
  if (const long e = raw_syscall(SYS_fstat, fd, &s); e < 0) return static_cast<int>(-e);
  const std::uint64_t mixed = (s.st_ino ^ s.st_dev << 40) * 0x9e3779b97f4a7c15u;
  file = static_cast<std::uint32_t>(mixed >> 32);
  return 0;
}

// Names the file behind the number from here on. True: another one was named, and somebody waits.
bool rename(FdEntry& entry, std::uint32_t file) {
  const std::lock_guard guard(entry.lock);
  const bool other = std::exchange(entry.generation, file) != file;
  return other && (entry.waiters[kReadable].front() || entry.waiters[kWritable].front());
}

}  // namespace

// Cancels the waits that are listed: who waits for the right file after all begins again.
void UringPoller::evict(FdEntry& entry) {
  const auto each = [&](auto f) {
    const std::lock_guard guard(entry.lock);
    for (WaitList& list : entry.waiters) {
      for (Actor* a = list.front(); a; a = a->wait_next) {
        f(a->wait_value.load(std::memory_order_relaxed));
      }
    }
  };
  std::vector<std::uint64_t> waits;
  std::size_t count = 0;
  do {  // memory is made outside the lock
    waits.clear();
    waits.reserve(2 * count);
    count = 0;
    each([&](std::uint64_t ticket) {
      if (waits.size() < waits.capacity()) waits.push_back(ticket);
      ++count;
    });
  } while (waits.size() < count);
  for (std::uint64_t ticket : waits) {
    if (ticket != 0) cancel(Ticket::unpack(ticket));
  }
}

int UringPoller::wait_until_ready(int fd, Direction d, std::uint64_t deadline) {
  FdEntry* entry = table_.get(fd);
  if (!entry) return EBADF;
  std::uint32_t file = 0, now = 0;
  if (int error = identify(fd, file)) return error;
  if (rename(*entry, file)) evict(*entry);
  for (;;) {
    const int status = await_ready(fd, *entry, d, deadline, kNeverClosed);
    if (status != 0 && status != ECANCELED) return status;
    if (identify(fd, now) != 0 || now != file) return EBADF;
    if (status == 0) return 0;
  }
}

// ---- sockets ----

int UringPoller::adopt(int fd, FdEntry*& entry, std::uint32_t& generation) {
  struct stat s{};
  if (const long e = raw_syscall(SYS_fstat, fd, &s); e < 0) return static_cast<int>(-e);
  if (S_ISREG(s.st_mode) || S_ISDIR(s.st_mode)) return EPERM;  // as epoll has it
  entry = table_.get(fd);
  generation = 0;
  if (!entry) return EBADF;
  evict(*entry);  // they waited on a file that had the number before
  return 0;
}

// Its waiters have been told by the flag: here they are woken.
void UringPoller::forget(int fd, std::uint32_t) {
  evict(*table_.get(fd));
  const Worker* w = current_worker();
  if (!w || &backend_of(w->runtime) != this) kick();  // nobody here will submit it
}

}  // namespace smarm
