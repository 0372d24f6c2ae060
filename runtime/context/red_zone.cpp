#include "runtime/context/red_zone.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/context/stack_map.hpp"

#include <sys/mman.h>

namespace smarm {

namespace {
constexpr int kMadvGuardInstall = 102;  // Linux 6.13; not in this libc's headers
constexpr int kMadvGuardRemove = 103;
constexpr std::uintptr_t kTorn = 1;  // above it the opener's word, which has 63 bits
}  // namespace

Stack stack_at(const void* address) noexcept {
  const StackSlab* slab = find_stacks(address);
  return slab ? slab->slot_of(address) : Stack{};
}

bool open_red_zone(const Stack& stack, char* from) noexcept {
  StackSlab* slab = find_stacks(stack.base);
  if (!slab || from < red_bottom(stack) || from >= stack.bottom()) return false;
  const auto bytes = static_cast<std::size_t>(stack.bottom() - from);
  const int refused = slab->guards() == GuardKind::install
                          ? ::madvise(from, bytes, kMadvGuardRemove)
                          : ::mprotect(from, bytes, PROT_READ | PROT_WRITE);
  if (refused) return false;
  if (!(slab->torn(stack.base).fetch_or(kTorn, std::memory_order_relaxed) & kTorn))
    torn_guards.fetch_add(1, std::memory_order_relaxed);
  return true;
}

std::uintptr_t exchange_torn_word(const Stack& stack, std::uintptr_t word) noexcept {
  std::atomic<std::uintptr_t>& torn = find_stacks(stack.base)->torn(stack.base);
  return torn.exchange(word << 1 | kTorn, std::memory_order_relaxed) >> 1;
}

void mend_torn_guard(const Stack& stack) noexcept {
  StackSlab* slab = find_stacks(stack.base);
  if (!slab || !slab->torn(stack.base).exchange(0, std::memory_order_relaxed)) return;
  char* const from = red_bottom(stack);
  const auto bytes = static_cast<std::size_t>(stack.bottom() - from);
  // The content goes: what lies below the bottom is dead once the flow is above it.
  SMARM_ASSERT((slab->guards() == GuardKind::install ? ::madvise(from, bytes, kMadvGuardInstall)
                                                     : ::mprotect(from, bytes, PROT_NONE)) == 0);
  torn_guards.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace smarm
