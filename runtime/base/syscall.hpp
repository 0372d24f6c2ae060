// System calls without libc: the result is a value, an errno below zero, and no thread's errno is
// written or read. (An actor may come back from a wait on another thread, and compilers keep
// errno's address across a call.) They are also as short as they can be: after a system call the
// processor has forgotten where the calls around it return to, so each call frame less is some 5 ns
// less.
#pragma once

#include "runtime/base/sanitizer.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <type_traits>

namespace smarm {

namespace detail {
template <class T>
[[gnu::always_inline]] inline long word(T value) {
  if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
    return reinterpret_cast<long>(value);
  } else {
    return static_cast<long>(value);
  }
}
}  // namespace detail

// Up to six arguments: integers or pointers.
template <class A = long, class B = long, class C = long, class D = long, class E = long,
          class F = long>
[[gnu::always_inline]] inline long raw_syscall(long number, A a = 0, B b = 0, C c = 0, D d = 0,
                                               E e = 0, F f = 0) {
  long result = number;
  register long r10 asm("r10") = detail::word(d);
  register long r8 asm("r8") = detail::word(e);
  register long r9 asm("r9") = detail::word(f);
  asm volatile("syscall"
               : "+a"(result)
               : "D"(detail::word(a)), "S"(detail::word(b)), "d"(detail::word(c)), "r"(r10),
                 "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

// ThreadSanitizer keeps a book of descriptors, and has to see that one is closed.
inline long close_fd(int fd) {
#if SMARM_TSAN
  return ::close(fd);
#else
  return raw_syscall(SYS_close, fd);
#endif
}

}  // namespace smarm
