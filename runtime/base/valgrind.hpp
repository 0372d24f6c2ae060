// What memcheck is told in a build for Valgrind (meson -Dvalgrind=true); nothing in any other.
//
// It takes a large change of the stack pointer for another stack, a small one for a frame: slots
// lie side by side, so each is registered. What is written below the stack pointer it must be told.
// Which stack is the current one it keeps once for all threads: with several workers a frame now
// and then is not made accessible. So addresses in actors' stacks are not its business; what is
// undefined there is.
#pragma once

#include <cstddef>

#ifndef SMARM_VALGRIND
#define SMARM_VALGRIND 0
#endif
#if SMARM_VALGRIND
#include <valgrind/memcheck.h>
#endif

namespace smarm {

// [bottom, top) is a stack. Returns what forget_stack_of_valgrind wants.
inline unsigned tell_valgrind_of_stack([[maybe_unused]] const void* bottom,
                                       [[maybe_unused]] const void* top) {
#if SMARM_VALGRIND
  return VALGRIND_STACK_REGISTER(bottom, static_cast<const char*>(top) - 1);
#else
  return 0;
#endif
}
inline void forget_stack_of_valgrind([[maybe_unused]] unsigned id) {
#if SMARM_VALGRIND
  VALGRIND_STACK_DEREGISTER(id);
#endif
}

// [p, p + bytes) is for stacks, from here on or no more.
inline void valgrind_leave_addresses([[maybe_unused]] const void* p,
                                     [[maybe_unused]] std::size_t bytes,
                                     [[maybe_unused]] bool for_stacks) {
#if SMARM_VALGRIND
  if (for_stacks) {
    VALGRIND_DISABLE_ADDR_ERROR_REPORTING_IN_RANGE(p, bytes);
  } else {
    VALGRIND_ENABLE_ADDR_ERROR_REPORTING_IN_RANGE(p, bytes);
  }
#endif
}

// Memory of a stack that is in use from here on, wherever its stack pointer was.
inline void valgrind_may_write([[maybe_unused]] void* p, [[maybe_unused]] std::size_t bytes) {
#if SMARM_VALGRIND
  VALGRIND_MAKE_MEM_UNDEFINED(p, bytes);
#endif
}
// Words that are copied or looked at whether they mean anything or not.
inline void valgrind_may_read([[maybe_unused]] const void* p, [[maybe_unused]] std::size_t bytes) {
#if SMARM_VALGRIND
  VALGRIND_MAKE_MEM_DEFINED(p, bytes);
#endif
}

}  // namespace smarm
