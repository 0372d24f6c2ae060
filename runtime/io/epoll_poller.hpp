// The epoll backend: readiness for the actors of one runtime, through its idle worker.
#pragma once

#include "runtime/base/owned_fd.hpp"
#include "runtime/io/blocking_pool.hpp"
#include "runtime/io/fd_table.hpp"
#include "runtime/sched/poller.hpp"

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <system_error>

namespace smarm {

class EpollPoller final : public Poller {
 public:
  explicit EpollPoller(unsigned blocking_threads);  // throws std::system_error

  bool poll(std::int64_t timeout_ns) override;
  void dispatch(Worker& worker) override;
  void kick() override;

  // Waits of any fd: registers, waits, withdraws. In a section. 0, SMARM_E_TIMEOUT, an errno, or
  // kKilled.
  int wait_raw(int fd, Direction direction, std::int64_t timeout_ns);

  // Sockets: registered until forgotten. The generation names this use of the number.
  int adopt(int fd, FdEntry*& entry, std::uint32_t& generation);
  void forget(int fd, std::uint32_t generation);  // wakes its waiters
  // Sleeps until there is an edge. 0, SMARM_E_TIMEOUT, EBADF, or kKilled.
  int wait_socket(FdEntry& entry, std::uint32_t generation, Direction direction,
                  std::uint64_t deadline_ns);

  BlockingPool& blocking() { return blocking_; }

 private:
  // Under the entry's registration lock.
  int register_raw(FdEntry& entry, int fd, const Actor* newcomer);
  void withdraw(FdEntry& entry, int fd);

  int enlist_raw(FdEntry& entry, int fd, Direction direction, Actor& self, Ticket ticket);

  OwnedFd epoll_;
  OwnedFd event_;
  FdTable table_;
  BlockingPool blocking_;
  std::array<epoll_event, 256> events_{};
  int event_count_ = 0;
};

// After an attempt that says nothing of what is left: puts the edge back, for others who wait too.
void restore_edge(FdEntry& entry, Direction direction);

// The poller of the calling actor's runtime.
EpollPoller& current_poller();

}  // namespace smarm
