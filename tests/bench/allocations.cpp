// The process's malloc: glibc's, with a count in front while --counters counts. Otherwise it costs
// a load and a predicted branch.

#include "tests/bench/counters.hpp"

#include <atomic>
#include <cerrno>
#include <cstddef>

namespace {

constinit std::atomic<bool> on{false};
constinit std::atomic<unsigned long> calls{0};  // relaxed: a number that nobody acts on

inline void note() {
  if (on.load(std::memory_order_relaxed)) [[unlikely]]
    calls.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

namespace bench {
unsigned long allocations() { return calls.load(std::memory_order_relaxed); }
void count_allocations() { on.store(true, std::memory_order_relaxed); }
}  // namespace bench

#ifdef __GLIBC__
extern "C" {

void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

#define BENCH_EXPORT __attribute__((visibility("default")))

BENCH_EXPORT void* malloc(std::size_t size) {
  note();
  return __libc_malloc(size);
}
BENCH_EXPORT void* calloc(std::size_t n, std::size_t size) {
  note();
  return __libc_calloc(n, size);
}
BENCH_EXPORT void* realloc(void* p, std::size_t size) {
  note();
  return __libc_realloc(p, size);
}
BENCH_EXPORT void* aligned_alloc(std::size_t alignment, std::size_t size) {
  note();
  return __libc_memalign(alignment, size);
}
BENCH_EXPORT int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
  note();
  void* p = __libc_memalign(alignment, size);
  if (!p) return ENOMEM;
  *out = p;
  return 0;
}

}  // extern "C"
#endif
