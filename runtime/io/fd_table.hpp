// What the poller knows of each file descriptor number.
//
// An entry is found by number and never freed. Its generation changes whenever the number comes to
// mean another file as far as we can know (a socket adopted or closed), and events carry the
// generation they were registered under: one for a closed and reused number wakes nobody.
//
// Two kinds of use share an entry: raw waits register for each wait (one-shot) and leave nothing
// behind; a socket of the RAII types registers once, edge-triggered, and keeps what the edges said
// in `ready` and `hung_up`.
//
// 1. Everything in an entry is under its mutex. System calls on the poller happen under it: it is a
// mutex, not a spinlock (rank: fd entry).
// 2. An actor on one of the lists is waiting, or about to, with the ticket in its wait_value; who
// takes it off the list owns the right to wake it.
#pragma once

#include "runtime/sync/channel.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

namespace smarm {

enum Direction : unsigned { kReadable = 0, kWritable = 1 };

struct FdEntry {
  std::mutex mutex;
  std::uint32_t generation = 0;
  WaitList waiters[2];
  bool registered = false;       // the kernel has it, as far as we know
  bool socket = false;           // of the RAII types
  bool ready[2] = {true, true};  // sockets: an edge came since the last look
};

class FdTable {
 public:
  FdTable() = default;
  ~FdTable();
  FdTable(const FdTable&) = delete;
  FdTable& operator=(const FdTable&) = delete;
  FdEntry* get(int fd);  // makes it on demand; nullptr for a negative or absurd number

 private:
  static constexpr int kChunk = 256, kChunks = 1 << 14;  // 4 M descriptors
  std::array<std::atomic<FdEntry*>, kChunks> chunks_{};
};

}  // namespace smarm
