#include "runtime/io/epoll_poller.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/syscall.hpp"
#include "runtime/sched/park.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace smarm {

namespace {

constexpr std::uint64_t kKickData = ~std::uint64_t{0};
constexpr std::uint32_t kEdges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
constexpr std::uint32_t kReadEvents = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI;
constexpr std::uint32_t kWriteEvents = EPOLLOUT | EPOLLHUP | EPOLLERR;
constexpr std::uint32_t kUnreliableEvents = EPOLLRDHUP | EPOLLERR | EPOLLPRI;

std::uint64_t event_data(int fd, std::uint32_t generation) {
  return std::uint64_t{generation} << 32 | static_cast<std::uint32_t>(fd);
}

int checked(int fd, const char* what) {
  if (fd < 0) throw std::system_error(errno, std::system_category(), what);
  return fd;
}

std::uint32_t edges_of(std::uint32_t events) {
  return (events & kReadEvents ? edge(kReadable) : 0) |
         (events & kWriteEvents ? edge(kWritable) : 0) |
         (events & kUnreliableEvents ? kUnreliable : 0);
}

// In Actor::wait_value of one that was taken off its list.
constexpr std::uint64_t kHappened = 0;
constexpr std::uint64_t kFileGone =
    ~std::uint64_t{0};  // its file is not behind the number any more

// Waiters that were taken off, to be woken once the lock of their list is free.
class Wakings {
 public:
  // False: there is no room, wake these first.
  bool take(WaitList& list, Actor& a, std::uint64_t why) {
    if (count_ == kMost) return false;
    list.remove(a);
    tickets_[count_++] = Ticket::unpack(a.wait_value.load(std::memory_order_relaxed));
    // release: who sees it is off the list, and knows what was done before.
    a.wait_value.store(why, std::memory_order_release);
    return true;
  }
  void wake_them() {
    for (std::size_t i = 0; i < count_; ++i) wake(tickets_[i]);
    count_ = 0;
  }

 private:
  static constexpr std::size_t kMost = 8;
  std::array<Ticket, kMost> tickets_;
  std::size_t count_ = 0;
};

// Takes the waiters of these directions off and wakes them. prepare() is called under the lock;
// false: there is nothing to wake them for.
template <class Prepare>
void wake_all(FdEntry& entry, std::uint32_t edges, Prepare prepare) {
  Wakings wakings;
  bool more = true;
  while (more) {
    {
      const std::lock_guard guard(entry.lock);
      if (!prepare()) return;
      more = false;
      for (Direction d : {kReadable, kWritable}) {
        if (!(edges & edge(d))) continue;
        Actor* a = nullptr;
        while (!more && (a = entry.waiters[d].front()))
          more = !wakings.take(entry.waiters[d], *a, kHappened);
      }
    }
    wakings.wake_them();
  }
}
void wake_all(FdEntry& entry, std::uint32_t edges) {
  wake_all(entry, edges, [] { return true; });
}

// Takes every waiter off but one, who came after the number had changed its meaning.
void evict_others(FdEntry& entry, const Actor* keep) {
  Wakings wakings;
  bool more = true;
  while (more) {
    more = false;
    {
      const std::lock_guard guard(entry.lock);
      for (WaitList& list : entry.waiters) {
        Actor* next = nullptr;
        for (Actor* a = list.front(); a && !more; a = next) {
          next = a->wait_next;
          if (a != keep) more = !wakings.take(list, *a, kFileGone);
        }
      }
    }
    wakings.wake_them();
  }
}

// Takes the actor off its list, unless somebody has.
enum class Left : std::uint8_t { happened, gone, withdrawn };
Left take_off(FdEntry& entry, Direction d, Actor& self) {
  if (self.wait_value.load(std::memory_order_acquire) == kHappened) [[likely]]
    return Left::happened;
  const std::lock_guard guard(entry.lock);
  const std::uint64_t why = self.wait_value.load(std::memory_order_relaxed);
  if (why == kHappened) return Left::happened;
  if (why == kFileGone) return Left::gone;
  entry.waiters[d].remove(self);
  return Left::withdrawn;
}

// What the waiters that are listed wait for.
std::uint32_t interest(FdEntry& entry) {
  const std::lock_guard guard(entry.lock);
  return (entry.waiters[kReadable].front() ? EPOLLIN | EPOLLRDHUP : 0u) |
         (entry.waiters[kWritable].front() ? static_cast<std::uint32_t>(EPOLLOUT) : 0u);
}

// Under the registration lock. From here on the number means another use of it.
std::uint32_t next_generation(FdEntry& entry) {
  const std::lock_guard guard(entry.lock);
  entry.edges.store(kBoth, std::memory_order_relaxed);  // nobody has looked yet
  return ++entry.generation;
}

}  // namespace

EpollPoller::EpollPoller(unsigned blocking_threads)
    : IoBackend(blocking_threads),
      epoll_(checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      event_(checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")) {
  epoll_event e{};
  e.events = EPOLLIN | EPOLLET;  // edge-triggered: never has to be read
  e.data.u64 = kKickData;
  SMARM_ASSERT(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, event_.get(), &e) == 0);
}

bool EpollPoller::poll(std::int64_t timeout_ns) {
  // epoll_pwait2 (Linux 5.11) takes nanoseconds. Older kernels: milliseconds, rounded up.
  static std::atomic<bool> has_pwait2{true};
  const int most = static_cast<int>(events_.size());
  long n = -ENOSYS;
  if (has_pwait2.load(std::memory_order_relaxed)) {
    const timespec t{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
    n = raw_syscall(SYS_epoll_pwait2, epoll_.get(), events_.data(), most,
                    timeout_ns < 0 ? nullptr : &t, nullptr, 0);
  }
  if (n == -ENOSYS) {
    has_pwait2.store(false, std::memory_order_relaxed);
    const std::int64_t ms = std::min<std::int64_t>((timeout_ns + 999'999) / 1'000'000, 60'000);
    n = raw_syscall(SYS_epoll_pwait, epoll_.get(), events_.data(), most, timeout_ns < 0 ? -1 : ms,
                    nullptr, 0);
  }
  SMARM_ASSERT(n >= 0 || n == -EINTR);
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
    const std::uint32_t edges = edges_of(event.events);
    const auto still_meant = [&] {
      if (entry.generation != static_cast<std::uint32_t>(event.data.u64 >> 32)) return false;
      entry.edges.fetch_or(edges, std::memory_order_release);
      return true;
    };
    if (entry.socket.load(std::memory_order_relaxed)) {
      wake_all(entry, edges, still_meant);
      continue;
    }
    // Who is woken takes this lock before it goes on, and may then close the descriptor.
    const std::lock_guard registration(table_.registration(fd));
    wake_all(entry, edges, still_meant);
    // One-shot: arms again for who still waits, else leaves.
    if (!entry.socket.load(std::memory_order_relaxed)) withdraw(entry, fd);
  }
  event_count_ = 0;
}

// ---- raw file descriptors ----

// Arms the kernel for the waiters that are listed. The file behind the number may have changed
// since: then MOD says so, and ADD it is. Those who waited on the file before must not be woken by
// this one: they are told that theirs is gone.
int EpollPoller::register_raw(FdEntry& entry, int fd, const Actor* newcomer) {
  epoll_event e{};
  e.events = EPOLLONESHOT | interest(entry);
  e.data.u64 = event_data(fd, entry.generation);
  if (entry.registered) {
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e) == 0) return 0;
    if (errno == ENOENT && newcomer) {
      evict_others(entry, newcomer);
      e.events = EPOLLONESHOT | interest(entry);
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
  if (interest(entry)) {
    if (register_raw(entry, fd, nullptr) == 0) return;
    wake_all(entry, kBoth);  // the file is gone: they find out by trying
  }
  if (entry.registered)
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd,
                nullptr);  // fails when the file was closed: it is gone then too
  entry.registered = false;
}

// Lists the actor and arms the kernel. 0 or an errno; EPERM: a file that is always ready.
int EpollPoller::enlist_raw(FdEntry& entry, int fd, Direction d, Actor& self, Ticket ticket) {
  const std::lock_guard registration(table_.registration(fd));
  if (entry.socket.load(std::memory_order_relaxed)) return EBUSY;  // belongs to a socket object
  {
    const std::lock_guard guard(entry.lock);
    self.wait_value.store(ticket.pack(), std::memory_order_relaxed);
    entry.waiters[d].append(self);
  }
  const int error = register_raw(entry, fd, &self);
  if (error) take_off(entry, d, self);
  return error;
}

int EpollPoller::wait_until_ready(int fd, Direction direction, std::uint64_t deadline) {
  FdEntry* entry = table_.get(fd);
  if (!entry) return EBADF;
  Actor& self = *current_actor();
  CountedWait counted(*current_worker());
  for (;;) {
    const Ticket ticket = begin_wait(self);
    if (int error = enlist_raw(*entry, fd, direction, self, ticket))
      return error == EPERM ? 0 : error;
    const Woken woken = wait(self, ticket, wait_kind(direction), deadline);
    Left left;
    {
      const std::lock_guard registration(table_.registration(fd));
      left = take_off(*entry, direction, self);
      if (left == Left::withdrawn && !entry->socket.load(std::memory_order_relaxed))
        withdraw(*entry, fd);
    }
    if (woken == Woken::killed) return kKilled;
    if (left == Left::happened) return 0;
    if (left == Left::gone) return EBADF;
    if (woken == Woken::by_time) return SMARM_E_TIMEOUT;
  }
}

// ---- sockets ----

int EpollPoller::adopt(int fd, FdEntry*& entry, std::uint32_t& generation) {
  entry = table_.get(fd);
  if (!entry) return EBADF;
  const std::lock_guard registration(table_.registration(fd));
  evict_others(*entry, nullptr);  // they waited on a file that had the number before
  generation = next_generation(*entry);
  epoll_event e{};
  e.events = kEdges;
  e.data.u64 = event_data(fd, generation);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) {
    if (errno != EEXIST || ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e) != 0) return errno;
  }
  entry->registered = true;
  entry->socket.store(true, std::memory_order_relaxed);
  return 0;
}

void EpollPoller::forget(int fd, std::uint32_t generation) {
  FdEntry* entry = table_.get(fd);
  const std::lock_guard registration(table_.registration(fd));
  if (entry->generation != generation) return;
  next_generation(*entry);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  entry->registered = false;
  entry->socket.store(false, std::memory_order_relaxed);
  wake_all(*entry, kBoth);
}

void restore_edge(FdEntry& entry, Direction d) {
  wake_all(entry, edge(d), [&] {  // one edge may stand for more than the caller has taken
    entry.edges.fetch_or(edge(d), std::memory_order_release);
    return true;
  });
}

int EpollPoller::wait_socket(FdEntry& entry, std::uint32_t generation, Direction d,
                             std::uint64_t deadline) {
  Actor& self = *current_actor();
  if (self.dying) return ECANCELED;
  CountedWait counted(*current_worker());
  for (;;) {
    const Ticket ticket = begin_wait(self);
    {
      const std::lock_guard guard(entry.lock);
      if (entry.generation != generation) return EBADF;
      if (entry.edges.load(std::memory_order_acquire) & edge(d)) return 0;
      self.wait_value.store(ticket.pack(), std::memory_order_relaxed);
      entry.waiters[d].append(self);
    }
    const Woken woken = wait(self, ticket, wait_kind(d), deadline);
    const Left left = take_off(entry, d, self);
    if (woken == Woken::killed) return kKilled;
    if (left == Left::happened) return 0;  // an edge, or the socket was closed
    if (left == Left::gone) return EBADF;
    if (woken == Woken::by_time) return SMARM_E_TIMEOUT;
  }
}

}  // namespace smarm
