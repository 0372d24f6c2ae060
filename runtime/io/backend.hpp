// What this floor asks of a poller: waits of descriptors, and sockets that it knows. Two implement
// it, chosen by smarm_config::io_backend.
#pragma once

#include "runtime/io/blocking_pool.hpp"
#include "runtime/io/fd_table.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/poller.hpp"

#include <cstdint>

namespace smarm {

class IoBackend : public Poller {
 public:
  explicit IoBackend(unsigned blocking_threads) : blocking_(blocking_threads) {}

  // Waits of any fd: registers, waits, withdraws. In a section. 0, SMARM_E_TIMEOUT, an errno, or
  // kKilled.
  int wait_raw(int fd, Direction direction, std::int64_t timeout_ns);

  // Sockets, between adopt and forget. The generation names this use of the number.
  virtual int adopt(int fd, FdEntry*& entry, std::uint32_t& generation) = 0;
  virtual void forget(int fd, std::uint32_t generation) = 0;  // wakes its waiters. Any thread

  virtual bool is_ring() const { return false; }
  BlockingPool& blocking() { return blocking_; }

 private:
  virtual int wait_until_ready(int fd, Direction direction, std::uint64_t deadline_ns) = 0;

  BlockingPool blocking_;
};

// Of the calling actor's runtime.
inline IoBackend& backend_of(RuntimeCore& runtime) {
  return static_cast<IoBackend&>(runtime.poller());
}
inline IoBackend& current_backend() { return backend_of(current_worker()->runtime); }

inline WaitKind wait_kind(Direction d) {
  return d == kReadable ? WaitKind::readable : WaitKind::writable;
}

// Waits for what no event tells of: 1 ms at first, twice as long each time, 50 ms in the end.
class Naps {
 public:
  int take(std::uint64_t deadline_ns);  // 0, SMARM_E_TIMEOUT, an errno or kKilled

 private:
  std::int64_t next_ = 1'000'000;
};

// Of the attempts of one call: some descriptors say again and again that they are ready, by an
// error or an end that the attempt does not take.
class FalseAlarms {
 public:
  // Behind an attempt that failed, before the sleep. Naps when that seems to be so. As Naps::take.
  int pause(int fd, Direction direction, std::uint64_t deadline_ns);

 private:
  static constexpr unsigned kFew = 3;
  bool first_ = true;
  unsigned alarms_ = 0;  // in a row
  Naps naps_;
};

// Counts a wait, so that the runtime does not end under it.
class CountedWait {
 public:
  explicit CountedWait(Worker& w) {
    w.io_waits.add();
    if (!w.runtime.knows_io.load(std::memory_order_relaxed))
      w.runtime.knows_io.store(true, std::memory_order_relaxed);
  }
  ~CountedWait() { current_worker()->io_waits.sub(); }  // perhaps another than at the start
  CountedWait(const CountedWait&) = delete;
  CountedWait& operator=(const CountedWait&) = delete;
};

}  // namespace smarm
