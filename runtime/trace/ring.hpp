// Trace rings: one per worker plus one for foreign threads. A writer never waits: it overwrites the
// oldest event, and the reader counts what it lost.
//
// Threads: one writer per ring (the worker; the foreign ring's writers take its lock), one reader
// at a time under the registry's lock. Each slot carries the number of the event in it, written
// after the event (release) and read before and after the copy (acquire): a slot that changed
// meanwhile is counted as lost. (A seqlock per slot.)
#pragma once

#include <smarm/smarm.h>

#include "runtime/base/spinlock.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>

namespace smarm {

class TraceRing {
 public:
  static constexpr std::size_t kEvents = 4096;

  void write(const smarm_trace_event& event) noexcept;
  // Takes up to `capacity` events, oldest first; adds to `lost` what was overwritten unread.
  std::size_t read(smarm_trace_event* out, std::size_t capacity, std::uint64_t& lost) noexcept;

 private:
  struct Slot {
    std::atomic<std::uint64_t> number{
        0};  // 1 + position of the event that the slot holds; 0 while it is written
    std::array<std::atomic<std::uint64_t>, 6> words{};
  };
  std::atomic<std::uint64_t> written_{0};
  std::uint64_t read_ = 0;
  std::array<Slot, kEvents> slots_{};
};

// The process's rings: index 0 is for foreign threads; a worker claims one of the others for as
// long as it exists. A ring is made at the first event.
class TraceRegistry {
 public:
  static constexpr std::size_t kRings = 1025;
  static TraceRegistry& instance();

  std::size_t claim() noexcept;  // 0, the shared ring, when there are no more
  void release(std::size_t ring) noexcept;
  void record(std::size_t ring, const smarm_trace_event& event) noexcept;
  std::size_t read(smarm_trace_event* out, std::size_t capacity) noexcept;
  std::uint64_t lost() const noexcept {
    return lost_.load(std::memory_order_relaxed);
  }  // relaxed: a statistic

 private:
  std::array<std::atomic<TraceRing*>, kRings> rings_{};
  std::array<bool, kRings> claimed_{true};  // under reader_
  Spinlock foreign_;                        // rank: trace, a leaf
  Spinlock reader_;
  std::atomic<std::uint64_t> lost_{0};
};

}  // namespace smarm
