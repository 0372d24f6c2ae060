#include "tests/bench/memory.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <sys/mman.h>

namespace bench {
namespace {

// The kB behind `key` in a file of /proc; 0 when it is not there.
long kilobytes(const char* path, const char* key) {
  long kb = 0;
  if (std::FILE* f = std::fopen(path, "re")) {
    char line[256];
    const std::size_t length = std::strlen(key);
    while (std::fgets(line, sizeof line, f)) {
      if (!std::strncmp(line, key, length)) kb = std::strtol(line + length, nullptr, 10);
    }
    std::fclose(f);
  }
  return kb;
}

}  // namespace

long million() {
  const char* text = std::getenv("BENCH_MILLION");
  const long n = text ? std::strtol(text, nullptr, 10) : 0;
  return n > 0 ? n : 1'000'000;
}

long leaves() {
  long n = 1;
  while (n * 10 <= million()) n *= 10;
  return n;
}

long resident_bytes() {
  return 1024 *
         (kilobytes("/proc/self/status", "VmRSS:") + kilobytes("/proc/self/status", "VmPTE:"));
}

void touch_and_free(std::size_t mib) {
  const long available = kilobytes("/proc/meminfo", "MemAvailable:") / 1024 * 3 / 4;
  const std::size_t size = std::min(mib, static_cast<std::size_t>(available)) << 20;
  if (size == 0) return;
  void* all = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return;
  ::madvise(all, size, MADV_HUGEPAGE);
  for (std::size_t at = 0; at < size; at += 4096) static_cast<volatile char*>(all)[at] = 1;
  ::munmap(all, size);
}

}  // namespace bench
