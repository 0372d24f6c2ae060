#include "runtime/context/context.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/valgrind.hpp"

#include <pthread.h>

#include <cstring>

namespace smarm {

void make_context(Context& context, [[maybe_unused]] void* bottom, void* top, void* (*fn)(void*),
                  void* arg) {
  SMARM_ASSERT(reinterpret_cast<std::uintptr_t>(top) % 16 == 0);
  // At smarm_stack_start sp must be 16-byte aligned: its call pushes the return address that the
  // ABI expects.
  auto* frame = reinterpret_cast<SavedFrame*>(static_cast<char*>(top) - 16 - sizeof(SavedFrame));
  valgrind_may_write(frame, 16 + sizeof *frame);
  std::memset(static_cast<void*>(frame), 0, sizeof *frame);
  frame->fresh = 1;
  frame->mxcsr = 0x1f80;  // the ABI's defaults: all exceptions masked, round to nearest
  frame->x87_control = 0x037f;
  frame->r12 = reinterpret_cast<void*>(fn);
  frame->r13 = arg;
  frame->return_address = &smarm_stack_start;
  context.sp = frame;
#if SMARM_ASAN
  context.fake_stack = nullptr;
  context.stack_bottom = bottom;
  context.stack_size =
      static_cast<std::size_t>(static_cast<char*>(top) - static_cast<char*>(bottom));
#endif
#if SMARM_TSAN
  if (!context.fiber) context.fiber = __tsan_create_fiber(0);
#endif
}

void adopt_thread([[maybe_unused]] Context& context) {
#if SMARM_ASAN
  pthread_attr_t attributes;
  SMARM_ASSERT(pthread_getattr_np(pthread_self(), &attributes) == 0);
  void* bottom = nullptr;
  std::size_t size = 0;
  pthread_attr_getstack(&attributes, &bottom, &size);
  pthread_attr_destroy(&attributes);
  context.stack_bottom = bottom;
  context.stack_size = size;
#endif
#if SMARM_TSAN
  context.fiber = __tsan_get_current_fiber();
#endif
}

}  // namespace smarm
