// The red zone: the part of a stack's guard that an overflow may use, so that the code that met the
// guard can be unwound, or can end what it must not leave half-done.
//
//      slot base             red_bottom                   bottom            top
//      | one page, always shut | red: opened by an overflow | usable          |
//
// A guard that was opened is torn: it is mended by mend_guard before the stack is anybody else's,
// and sooner when the flow on it has unwound.
#pragma once

#include "runtime/context/stack_pool.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace smarm {

inline constexpr std::size_t kRedPage = 4096;
inline constexpr std::size_t kMostRed = 64 * 1024;

// None below slots of 32 KiB, whose guard is one page.
inline char* red_bottom(const Stack& stack) {
  return stack.bottom() - std::min(stack.guard_size() - kRedPage, kMostRed);
}
// Where the first third begins, which code that may not be unwound gets before it needs all.
inline char* red_third(const Stack& stack) {
  const std::size_t red = static_cast<std::size_t>(stack.bottom() - red_bottom(stack));
  return stack.bottom() - red / 3 / kRedPage * kRedPage;
}

// Any stack of the process's slabs that `address` is in, guards included. Async-signal-safe.
Stack stack_at(const void* address) noexcept;

// Opens the guard from `from` (a page of the red zone) up. Async-signal-safe. False: refused.
bool open_red_zone(const Stack& stack, char* from) noexcept;

// A word for who opened it: of a stack whose guard is torn; 0 at first. Async-signal-safe.
std::uintptr_t exchange_torn_word(const Stack& stack, std::uintptr_t word) noexcept;

// How many guards are torn. relaxed: a stack's own thread tore its guard.
inline std::atomic<std::size_t> torn_guards{0};
void mend_torn_guard(const Stack& stack) noexcept;
// Shuts the guard of a stack that is in use above its bottom, if at all.
inline void mend_guard(const Stack& stack) noexcept {
  if (torn_guards.load(std::memory_order_relaxed) != 0) [[unlikely]]
    mend_torn_guard(stack);
}

}  // namespace smarm
