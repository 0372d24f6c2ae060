// Hibernation of one stack: its live words are packed into a small block, its pages given back,
// and both undone when the stack is needed, at the same address.
//
// Others may hold pointers into a stack that sleeps, and write through them at any moment. So it is
// made read-only before it is packed, has no access at all while it is frozen, and gets its content
// back before access: nobody ever sees it half-way, and no write is lost. Who touches it meanwhile
// faults, and the handler (fault/signals.cpp) asks for thaw_frozen_at.
//
// How content comes back before access: the kernel puts a filled page in the place of the guard
// (userfaultfd, where it may be used and does that), or writes, through /proc/self/mem, into pages
// that no code of the process may touch yet.
#pragma once

#include "runtime/context/stack_pool.hpp"

#include <atomic>
#include <cstddef>
#include <span>

namespace smarm {

struct FrozenStack;

// Whether this process can freeze stacks; false: set_last_error says why not. Opens what is needed.
bool can_freeze_stacks();

// A stack that nobody runs on, and its live part [sp, end), both 8-byte aligned.
struct StackToFreeze {
  Stack stack;
  void* sp = nullptr;
  void* end = nullptr;
  void* owner = nullptr;          // the caller's, to know it again
  FrozenStack* frozen = nullptr;  // the answer; nullptr: it stays as it is (no memory, a limit of
                                  // the kernel, or too much on it to be worth it)
};
// Freezes several at a time: slots that lie side by side, as those of actors that were spawned
// together do, share their system calls. Sorts them by address.
void freeze_stacks(std::span<StackToFreeze> all) noexcept;
// Makes the stack whole, unless a stranger has done so before, and frees the record.
Stack thaw_stack(FrozenStack* frozen) noexcept;
// Async-signal-safe. If the address lies in a frozen stack, or in one that is being frozen or
// thawed, waits until it may be touched and answers true. Its record stays the owner's, to be given
// to thaw_stack.
bool thaw_frozen_at(const void* address) noexcept;

// For tests of the other way back: slabs that are frozen for the first time take no pages.
void put_no_pages() noexcept;

// Records that exist now, of the whole process.
extern std::atomic<std::size_t> frozen_records;
inline std::size_t frozen_stacks() noexcept {
  return frozen_records.load(std::memory_order_relaxed);
}

// Before a system call gets the buffer. Free while nothing hibernates.
inline void thaw_buffer(const void* buffer) noexcept {
  if (buffer && frozen_stacks() != 0) thaw_frozen_at(buffer);
}

}  // namespace smarm
