// What the poller knows of each file descriptor number.
//
// An entry is found by number and never freed. Its generation changes whenever the number comes to
// mean another file as far as we can know (a socket adopted or closed), and events carry the
// generation they were registered under: one for a closed and reused number wakes nobody.
//
// Two kinds of use share an entry: raw waits register for each wait (one-shot) and leave nothing
// behind; a socket of the RAII types registers once, edge-triggered, and keeps what the edges said
// in `edges`.
//
// 1. The entry's registration lock (FdTable::registration; rank: fd registration) is held over what
// the kernel is told and what goes with it: `registered`, `socket` and, with `lock` too,
// `generation`. It is a mutex, for system calls happen under it; entries share some, to be small.
// 2. `lock` (rank: fd entry, below it) guards the lists. A socket's waits and events take no other.
// 3. `edges` is set under `lock`, so that who looks at it there before it sleeps misses none. It is
// cleared by anybody, before a look at the socket: a read-modify-write, behind which the look sees
// what the cleared edge stood for.
// 4. An actor on one of the lists is waiting, or about to, with the ticket in its wait_value; who
// takes it off the list owns the right to wake it.
#pragma once

#include "runtime/base/spinlock.hpp"
#include "runtime/sync/channel.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

namespace smarm {

enum Direction : unsigned { kReadable = 0, kWritable = 1 };

// An edge in that direction came since somebody last looked.
constexpr std::uint32_t edge(Direction d) { return 1u << d; }
inline constexpr std::uint32_t kBoth = edge(kReadable) | edge(kWritable);
// The peer has closed, an error came, or urgent data: what is read says nothing of what is left.
// For good.
inline constexpr std::uint32_t kUnreliable = 4;

struct alignas(kCacheLine) FdEntry {
  Spinlock lock;
  std::atomic<bool> socket{false};      // of the RAII types
  std::atomic<std::uint32_t> edges{0};  // sockets
  std::uint32_t generation = 0;
  WaitList waiters[2];
  bool registered = false;  // the kernel has it, as far as we know
};
static_assert(sizeof(FdEntry) == kCacheLine);

class FdTable {
 public:
  FdTable() = default;
  ~FdTable();
  FdTable(const FdTable&) = delete;
  FdTable& operator=(const FdTable&) = delete;
  FdEntry* get(int fd);  // makes it on demand; nullptr for a negative or absurd number
  std::mutex& registration(int fd) {
    return registrations_[static_cast<unsigned>(fd) % registrations_.size()];
  }

 private:
  static constexpr int kChunk = 256, kChunks = 1 << 14;  // 4 M descriptors
  std::array<std::atomic<FdEntry*>, kChunks> chunks_{};
  std::array<std::mutex, 64> registrations_;
};

}  // namespace smarm
