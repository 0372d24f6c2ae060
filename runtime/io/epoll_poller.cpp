#include "runtime/io/epoll_poller.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/sched/park.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace smarm {

namespace {

constexpr std::uint64_t kKickData = ~std::uint64_t{0};
constexpr std::uint32_t kEdges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
constexpr std::uint32_t kReadEvents = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI;
constexpr std::uint32_t kWriteEvents = EPOLLOUT | EPOLLHUP | EPOLLERR;

std::uint64_t event_data(int fd, std::uint32_t generation) {
  return std::uint64_t{generation} << 32 | static_cast<std::uint32_t>(fd);
}

int checked(int fd, const char* what) {
  if (fd < 0) throw std::system_error(errno, std::system_category(), what);
  return fd;
}

// Takes every waiter of one direction off and wakes it.
void wake_all(FdEntry& entry, Direction d) {
  while (Actor* a = entry.waiters[d].front()) {
    entry.waiters[d].remove(*a);
    const Ticket ticket = Ticket::unpack(a->wait_value);
    a->wait_value = 0;
    wake(ticket);
  }
}

// In Actor::wait_value: the file that was waited on is not behind its number any more.
constexpr std::uint64_t kFileGone = ~std::uint64_t{0};

// Takes every waiter off but one, who came after the number had changed its meaning.
void evict_others(FdEntry& entry, const Actor* keep) {
  for (auto& list : entry.waiters) {
    Actor* next = nullptr;
    for (Actor* a = list.front(); a; a = next) {
      next = a->wait_next;
      if (a == keep) continue;
      list.remove(*a);
      const Ticket ticket = Ticket::unpack(a->wait_value);
      a->wait_value = kFileGone;
      wake(ticket);
    }
  }
}

// Counts a wait, so that the runtime does not end under it.
class CountedWait {
 public:
  explicit CountedWait(RuntimeCore& rt) : runtime_(rt) {
    runtime_.io_waits.fetch_add(1, std::memory_order_seq_cst);
  }
  ~CountedWait() { runtime_.io_waits.fetch_sub(1, std::memory_order_seq_cst); }
  CountedWait(const CountedWait&) = delete;
  CountedWait& operator=(const CountedWait&) = delete;

 private:
  RuntimeCore& runtime_;
};

}  // namespace

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) ::close(fd_);
}

EpollPoller& current_poller() {
  return static_cast<EpollPoller&>(current_worker()->runtime.poller());
}

EpollPoller::EpollPoller(unsigned blocking_threads)
    : epoll_(checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      event_(checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")),
      blocking_(blocking_threads) {
  epoll_event e{};
  e.events = EPOLLIN | EPOLLET;  // edge-triggered: never has to be read
  e.data.u64 = kKickData;
  SMARM_ASSERT(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, event_.get(), &e) == 0);
}

bool EpollPoller::poll(std::int64_t timeout_ns) {
  timespec t{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  // epoll_pwait2 (Linux 5.11) takes nanoseconds. Older kernels: milliseconds, rounded up.
  static std::atomic<bool> has_pwait2{true};
  long n = -1;
  if (has_pwait2.load(std::memory_order_relaxed)) {
    n = ::syscall(SYS_epoll_pwait2, epoll_.get(), events_.data(), events_.size(),
                  timeout_ns < 0 ? nullptr : &t, nullptr, 0);
    if (n < 0 && errno == ENOSYS) has_pwait2.store(false, std::memory_order_relaxed);
  }
  if (n < 0 && !has_pwait2.load(std::memory_order_relaxed)) {
    const int ms =
        timeout_ns < 0
            ? -1
            : static_cast<int>(std::min<std::int64_t>((timeout_ns + 999'999) / 1'000'000, 60'000));
    n = ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()), ms);
  }
  SMARM_ASSERT(n >= 0 || errno == EINTR);
  event_count_ = n > 0 ? static_cast<int>(n) : 0;
  return event_count_ > 0;
}

void EpollPoller::kick() {
  const std::uint64_t one = 1;
  static_cast<void>(
      !::write(event_.get(), &one, sizeof one));  // full means that it is readable already
}

void EpollPoller::dispatch(Worker&) {
  for (int i = 0; i < event_count_; ++i) {
    const epoll_event& event = events_[i];
    if (event.data.u64 == kKickData) continue;
    const int fd = static_cast<int>(static_cast<std::uint32_t>(event.data.u64));
    FdEntry& entry = *table_.get(fd);
    std::lock_guard lock(entry.mutex);
    if (entry.generation != static_cast<std::uint32_t>(event.data.u64 >> 32)) continue;
    if (event.events & kReadEvents) {
      entry.ready[kReadable] = true;
      wake_all(entry, kReadable);
    }
    if (event.events & kWriteEvents) {
      entry.ready[kWritable] = true;
      wake_all(entry, kWritable);
    }
    if (!entry.socket)
      withdraw(entry, fd);  // one-shot: arms again for who still waits, else leaves
  }
  event_count_ = 0;
}

// ---- raw file descriptors ----

// Arms the kernel for the waiters that are listed. The file behind the number may have changed
// since: then MOD says so, and ADD it is. Those who waited on the file before must not be woken by
// this one: they are told that theirs is gone.
int EpollPoller::register_raw(FdEntry& entry, int fd, const Actor* newcomer) {
  epoll_event e{};
  e.events = EPOLLONESHOT | (entry.waiters[kReadable].front() ? EPOLLIN | EPOLLRDHUP : 0u) |
             (entry.waiters[kWritable].front() ? EPOLLOUT : 0u);
  e.data.u64 = event_data(fd, entry.generation);
  if (entry.registered) {
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e) == 0) return 0;
    if (errno == ENOENT && newcomer) {
      evict_others(entry, newcomer);
      e.events = EPOLLONESHOT | (entry.waiters[kReadable].front() ? EPOLLIN | EPOLLRDHUP : 0u) |
                 (entry.waiters[kWritable].front() ? EPOLLOUT : 0u);
    }
  }
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) == 0 ||
      (errno == EEXIST && ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e) == 0)) {
    entry.registered = true;
    return 0;
  }
  return errno;
}

void EpollPoller::withdraw(FdEntry& entry, int fd) {
  if (entry.waiters[kReadable].front() || entry.waiters[kWritable].front()) {
    if (register_raw(entry, fd, nullptr) == 0) return;
    wake_all(entry, kReadable);  // the file is gone: they find out by trying
    wake_all(entry, kWritable);
  }
  if (entry.registered)
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd,
                nullptr);  // fails when the file was closed: it is gone then too
  entry.registered = false;
}

int EpollPoller::wait_raw(int fd, Direction direction, std::int64_t timeout_ns) {
  FdEntry* entry = table_.get(fd);
  if (!entry) return EBADF;
  Actor& self = *current_actor();
  if (self.dying) return ECANCELED;
  RuntimeCore& rt = current_worker()->runtime;
  if (timeout_ns == 0) {  // a look, not a wait
    pollfd p{fd, static_cast<short>(direction == kReadable ? POLLIN : POLLOUT), 0};
    const int n = ::poll(&p, 1, 0);
    if (n > 0) return p.revents & POLLNVAL ? EBADF : 0;
    return n == 0 ? SMARM_E_TIMEOUT : errno;
  }
  const std::uint64_t deadline =
      timeout_ns < 0 ? kNever : deadline_after(rt.clock().now_ns(), timeout_ns);
  CountedWait counted(rt);
  for (;;) {
    const Ticket ticket = begin_wait(self);
    {
      std::lock_guard lock(entry->mutex);
      if (entry->socket) return EBUSY;  // belongs to a socket object
      self.wait_value = ticket.pack();
      entry->waiters[direction].append(self);
      if (int error = register_raw(*entry, fd, &self)) {
        entry->waiters[direction].remove(self);
        if (error == EPERM) return 0;  // a regular file: always ready
        return error;
      }
    }
    const Woken woken = wait(
        self, ticket, direction == kReadable ? WaitKind::readable : WaitKind::writable, deadline);
    bool happened, gone;
    {
      std::lock_guard lock(entry->mutex);
      happened = self.wait_value == 0;
      gone = self.wait_value == kFileGone;
      if (!happened && !gone) {
        entry->waiters[direction].remove(self);
        if (!entry->socket) withdraw(*entry, fd);
      }
    }
    if (woken == Woken::killed) return kKilled;
    if (happened) return 0;
    if (gone) return EBADF;
    if (woken == Woken::by_time) return SMARM_E_TIMEOUT;
  }
}

// ---- sockets ----

int EpollPoller::adopt(int fd, std::uint32_t& generation) {
  FdEntry* entry = table_.get(fd);
  if (!entry) return EBADF;
  std::lock_guard lock(entry->mutex);
  evict_others(*entry, nullptr);  // they waited on a file that had the number before
  generation = ++entry->generation;
  epoll_event e{};
  e.events = kEdges;
  e.data.u64 = event_data(fd, generation);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) {
    if (errno != EEXIST || ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e) != 0) return errno;
  }
  entry->registered = true;
  entry->socket = true;
  entry->ready[kReadable] = entry->ready[kWritable] = true;
  return 0;
}

void EpollPoller::forget(int fd, std::uint32_t generation) {
  FdEntry* entry = table_.get(fd);
  std::lock_guard lock(entry->mutex);
  if (entry->generation != generation) return;
  ++entry->generation;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  entry->registered = entry->socket = false;
  wake_all(*entry, kReadable);
  wake_all(*entry, kWritable);
}

void EpollPoller::clear_ready(int fd, Direction d) {
  FdEntry& entry = *table_.get(fd);
  std::lock_guard lock(entry.mutex);
  entry.ready[d] = false;
}

void EpollPoller::set_ready(int fd, Direction d) {
  FdEntry& entry = *table_.get(fd);
  std::lock_guard lock(entry.mutex);
  entry.ready[d] = true;
  wake_all(entry, d);  // one edge may stand for more than the caller has taken
}

int EpollPoller::wait_socket(int fd, std::uint32_t generation, Direction d,
                             std::uint64_t deadline) {
  FdEntry& entry = *table_.get(fd);
  Actor& self = *current_actor();
  if (self.dying) return ECANCELED;
  CountedWait counted(current_worker()->runtime);
  for (;;) {
    const Ticket ticket = begin_wait(self);
    {
      std::lock_guard lock(entry.mutex);
      if (entry.generation != generation) return EBADF;
      if (entry.ready[d]) return 0;
      self.wait_value = ticket.pack();
      entry.waiters[d].append(self);
    }
    const Woken woken =
        wait(self, ticket, d == kReadable ? WaitKind::readable : WaitKind::writable, deadline);
    {
      std::lock_guard lock(entry.mutex);
      if (self.wait_value != 0) entry.waiters[d].remove(self);
      if (woken != Woken::killed && entry.generation != generation) return EBADF;
    }
    if (woken == Woken::killed) return kKilled;
    if (woken == Woken::by_time) return SMARM_E_TIMEOUT;
  }
}

}  // namespace smarm
