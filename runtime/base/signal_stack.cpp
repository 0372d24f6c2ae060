#include "runtime/base/signal_stack.hpp"

#include <sys/mman.h>

#include <cstddef>

namespace smarm {

namespace {
constexpr std::size_t kSize = 64 * 1024;  // AVX-512 registers take 3 KiB, a sanitizer's frames more
}

SignalStack::SignalStack() {
  if (::sigaltstack(nullptr, &before_) != 0) return;
  if (!(before_.ss_flags & SS_DISABLE) && before_.ss_size >= kSize) return;
  void* memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return;
  const stack_t mine{memory, 0, kSize};
  if (::sigaltstack(&mine, nullptr) == 0) {
    memory_ = memory;
  } else {
    ::munmap(memory, kSize);
  }
}

SignalStack::~SignalStack() {
  if (!memory_) return;
  ::sigaltstack(&before_, nullptr);
  ::munmap(memory_, kSize);
}

}  // namespace smarm
