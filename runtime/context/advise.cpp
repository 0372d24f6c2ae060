#include "runtime/context/advise.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace smarm {

namespace {

// Names the calling process without a descriptor that a fork would make point at the parent; Linux
// 6.14; not in this libc's headers.
constexpr int kPidfdSelfProcess = -10001;

long advise_self(const iovec* ranges, std::size_t n, int advice) {
  return ::syscall(SYS_process_madvise, kPidfdSelfProcess, ranges, n, advice, 0);
}

// Tried once, on a page of its own: older kernels, and filters of system calls, refuse it.
bool kernel_takes_batches() {
  static const bool yes = [] {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* p = ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return false;
    const iovec range{p, page};
    const bool taken = advise_self(&range, 1, MADV_DONTNEED) == static_cast<long>(page);
    ::munmap(p, page);
    return taken;
  }();
  return yes;
}

}  // namespace

std::size_t advise_each(std::span<const iovec> ranges, int advice) {
  std::size_t done = 0;
  if (ranges.size() > 1 && kernel_takes_batches()) {
    long bytes = advise_self(ranges.data(), ranges.size(), advice);
    for (; done < ranges.size() && bytes >= static_cast<long>(ranges[done].iov_len); ++done)
      bytes -= static_cast<long>(ranges[done].iov_len);
  }
  // What the batch did not reach, one by one: the refusal then names its range.
  for (; done < ranges.size(); ++done) {
    if (::madvise(ranges[done].iov_base, ranges[done].iov_len, advice) != 0) break;
  }
  return done;
}

}  // namespace smarm
