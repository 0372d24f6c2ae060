#include "runtime/context/stack_map.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace smarm {

namespace {

constexpr unsigned kAddressBits = 47;
constexpr unsigned kCellShift = 28;

struct Entry {
  StackSlab* slab;
  Entry* next;
};

// 4 MiB of zeros, of which the few pages are real that stacks lie in.
constinit std::atomic<Entry*> cells[std::size_t{1} << (kAddressBits - kCellShift)];

std::size_t cell_of(std::uintptr_t address) { return address >> kCellShift; }

}  // namespace

std::atomic<std::uintptr_t>* StackSlab::make_word(const void* address) noexcept {
  if (auto* known = word(address)) return known;
  const std::size_t slots = bytes_.load(std::memory_order_relaxed) >> shift();
  // All zeros is what a new atomic word holds; calloc leaves the pages untouched.
  auto* fresh =
      static_cast<std::atomic<std::uintptr_t>*>(std::calloc(slots, sizeof(std::uintptr_t)));
  if (!fresh) return nullptr;
  std::atomic<std::uintptr_t>* known = nullptr;
  // release: the zeros; pairs with word()
  if (!words_.compare_exchange_strong(known, fresh, std::memory_order_acq_rel)) std::free(fresh);
  return word(address);
}

StackSlab* map_stacks(char* base, std::size_t bytes, std::uint8_t cls, GuardKind guards) noexcept {
  const auto first = reinterpret_cast<std::uintptr_t>(base);
  if (first >> kAddressBits) return nullptr;
  auto* slab = new (std::nothrow) StackSlab(base, bytes, cls, guards);
  if (!slab || !slab->made()) {
    delete slab;
    return nullptr;
  }
  for (std::size_t cell = cell_of(first); cell <= cell_of(first + bytes - 1); ++cell) {
    auto* entry = new (std::nothrow) Entry{slab, cells[cell].load(std::memory_order_relaxed)};
    if (!entry) return slab;  // found in the cells before this one
    // release: pairs with find_stacks
    while (!cells[cell].compare_exchange_weak(entry->next, entry, std::memory_order_release,
                                              std::memory_order_relaxed)) {
    }
  }
  return slab;
}

StackSlab* find_stacks(const void* address) noexcept {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  if (at >> kAddressBits) return nullptr;
  for (Entry* e = cells[cell_of(at)].load(std::memory_order_acquire); e; e = e->next) {
    if (e->slab->holds(address)) return e->slab;
  }
  return nullptr;
}

}  // namespace smarm
