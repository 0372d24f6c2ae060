// The process's operator new and delete: malloc, with a tick of the preemption clock and a look at
// the actor's stack in front. All forms, so that every allocation of a program counts and every
// pair matches.

#include "runtime/sched/preempt.hpp"
#include "runtime/sched/stack_room.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

void look_at_stack() {
  if (smarm::short_of_stack()) [[unlikely]]
    smarm::out_of_stack();
}

// [new.delete.single]: calls the new-handler until it gives up.
void* allocate(std::size_t size, std::size_t alignment) {
  smarm::tick();
  if (size == 0) size = 1;
  for (;;) {
    void* p = alignment <= alignof(std::max_align_t)
                  ? std::malloc(size)
                  : std::aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
    if (p) [[likely]]
      return p;
    std::new_handler handler = std::get_new_handler();
    if (!handler) throw std::bad_alloc();
    handler();
  }
}

void* try_allocate(std::size_t size, std::size_t alignment) noexcept {
  if (smarm::short_of_stack()) [[unlikely]]
    return nullptr;
  try {
    return allocate(size, alignment);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

constexpr std::size_t raw(std::align_val_t a) { return static_cast<std::size_t>(a); }

}  // namespace

#define SMARM_EXPORT __attribute__((visibility("default")))

SMARM_EXPORT void* operator new(std::size_t n) {
  smarm::tick();
  look_at_stack();
  void* p = std::malloc(n ? n : 1);
  if (p) [[likely]]
    return p;
  return allocate(n, 1);
}
SMARM_EXPORT void* operator new[](std::size_t n) { return operator new(n); }
SMARM_EXPORT void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return try_allocate(n, 1);
}
SMARM_EXPORT void* operator new[](std::size_t n, const std::nothrow_t&) noexcept {
  return try_allocate(n, 1);
}
SMARM_EXPORT void* operator new(std::size_t n, std::align_val_t a) {
  look_at_stack();
  return allocate(n, raw(a));
}
SMARM_EXPORT void* operator new[](std::size_t n, std::align_val_t a) { return operator new(n, a); }
SMARM_EXPORT void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return try_allocate(n, raw(a));
}
SMARM_EXPORT void* operator new[](std::size_t n, std::align_val_t a,
                                  const std::nothrow_t&) noexcept {
  return try_allocate(n, raw(a));
}

SMARM_EXPORT void operator delete(void* p) noexcept { std::free(p); }
SMARM_EXPORT void operator delete[](void* p) noexcept { std::free(p); }
SMARM_EXPORT void operator delete(void* p, std::size_t) noexcept { std::free(p); }
SMARM_EXPORT void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
SMARM_EXPORT void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
SMARM_EXPORT void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
SMARM_EXPORT void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
SMARM_EXPORT void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
SMARM_EXPORT void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
SMARM_EXPORT void operator delete[](void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
SMARM_EXPORT void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept {
  std::free(p);
}
SMARM_EXPORT void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept {
  std::free(p);
}
