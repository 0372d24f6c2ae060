// The epoll backend: readiness for the actors of one runtime, through its idle worker.
#pragma once

#include "runtime/base/owned_fd.hpp"
#include "runtime/io/backend.hpp"

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <system_error>

namespace smarm {

class EpollPoller final : public IoBackend {
 public:
  explicit EpollPoller(unsigned blocking_threads);  // throws std::system_error

  bool poll(std::int64_t timeout_ns) override;
  void dispatch(Worker& worker) override;
  void kick() override;

  // Sockets: registered until forgotten.
  int adopt(int fd, FdEntry*& entry, std::uint32_t& generation) override;
  void forget(int fd, std::uint32_t generation) override;
  // Sleeps until there is an edge. 0, SMARM_E_TIMEOUT, EBADF, or kKilled.
  int wait_socket(FdEntry& entry, std::uint32_t generation, Direction direction,
                  std::uint64_t deadline_ns);

 private:
  int wait_until_ready(int fd, Direction direction, std::uint64_t deadline_ns) override;
  // Under the entry's registration lock.
  int register_raw(FdEntry& entry, int fd, const Actor* newcomer);
  void withdraw(FdEntry& entry, int fd);

  int enlist_raw(FdEntry& entry, int fd, Direction direction, Actor& self, Ticket ticket);

  OwnedFd epoll_;
  OwnedFd event_;
  FdTable table_;
  std::array<epoll_event, 256> events_{};
  int event_count_ = 0;
};

// After an attempt that says nothing of what is left: puts the edge back, for others who wait too.
void restore_edge(FdEntry& entry, Direction direction);

}  // namespace smarm
