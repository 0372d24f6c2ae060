// Where stacks lie: from any address to the slab and slot that it is in.
//
// Asked by a fault handler, so it takes no lock and never allocates to answer: the address space is
// cut into cells of 256 MiB, and each cell has a list of the slabs that reach into it. Slabs are
// added and never taken out; one that is unmapped (pools of tests only) is marked.
#pragma once

#include "runtime/context/stack_pool.hpp"

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace smarm {

// One mapping of many slots of a class.
class StackSlab {
 public:
  StackSlab(char* base, std::size_t bytes, std::uint8_t cls, GuardKind guards)
      : base_(base),
        bytes_(bytes),
        cls_(cls),
        guards_(guards),
        torn_(new(std::nothrow) std::atomic<std::uintptr_t>[bytes >> shift()]()) {}
  StackSlab(const StackSlab&) = delete;
  StackSlab& operator=(const StackSlab&) = delete;

  bool holds(const void* address) const noexcept {
    // acquire: pairs with forget
    return static_cast<std::uintptr_t>(static_cast<const char*>(address) - base_) <
           bytes_.load(std::memory_order_acquire);
  }
  Stack slot_of(const void* address) const noexcept {
    return {base_ + (index_of(address) << shift()), cls_};
  }
  GuardKind guards() const noexcept { return guards_; }
  // Of that slot: 0 while its guard is whole. red_zone.cpp's.
  std::atomic<std::uintptr_t>& torn(const void* address) const noexcept {
    return torn_[index_of(address)];
  }
  bool made() const noexcept { return torn_ != nullptr; }  // false: no memory
  char* base() const noexcept { return base_; }
  std::size_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }

  // The process for which the kernel puts whole pages into this slab; 0: none. frozen_stack.cpp's;
  // relaxed: a hint, both ways are right.
  std::atomic<pid_t> takes_pages_of{0};

  // One word for each slot; its meaning is frozen_stack.cpp's. nullptr: nobody has asked for the
  // words of this slab with make_word.
  std::atomic<std::uintptr_t>* word(const void* address) const noexcept {
    // acquire: pairs with make_word
    std::atomic<std::uintptr_t>* all = words_.load(std::memory_order_acquire);
    return all ? &all[index_of(address)] : nullptr;
  }
  // The same; allocates. nullptr: no memory.
  std::atomic<std::uintptr_t>* make_word(const void* address) noexcept;
  // The slab is unmapped next; it holds no address any more.
  void forget() noexcept { bytes_.store(0, std::memory_order_release); }

 private:
  unsigned shift() const noexcept { return cls_ + static_cast<unsigned>(kMinStackShift); }
  std::size_t index_of(const void* address) const noexcept {
    return static_cast<std::size_t>(static_cast<const char*>(address) - base_) >> shift();
  }

  char* const base_;
  std::atomic<std::size_t> bytes_;
  const std::uint8_t cls_;
  const GuardKind guards_;
  const std::unique_ptr<std::atomic<std::uintptr_t>[]> torn_;
  std::atomic<std::atomic<std::uintptr_t>*> words_{nullptr};
};

// Any thread. nullptr: no memory; stacks of that mapping are then unknown here.
StackSlab* map_stacks(char* base, std::size_t bytes, std::uint8_t cls, GuardKind guards) noexcept;
// Async-signal-safe. nullptr: no stack lies there.
StackSlab* find_stacks(const void* address) noexcept;

}  // namespace smarm
