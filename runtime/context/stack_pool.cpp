#include "runtime/context/stack_pool.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/base/valgrind.hpp"
#include "runtime/context/advise.hpp"
#include "runtime/context/stack_map.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace smarm {

namespace {

constexpr int kMadvGuardInstall = 102;  // Linux 6.13; not in this libc's headers
constexpr std::size_t kPage = 4096;
constexpr std::size_t kMappingReserve =
    2000;  // what the rest of the process may need: libraries, threads, malloc

bool kernel_installs_guards() {
  if (SMARM_VALGRIND) return false;  // it knows of mprotect alone, and dies of any other guard
  void* p = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return false;
  bool yes = ::madvise(p, kPage, kMadvGuardInstall) == 0;
  ::munmap(p, kPage);
  return yes;
}

std::size_t read_max_map_count() {
  std::size_t n = 65530;
  if (std::FILE* f = std::fopen("/proc/sys/vm/max_map_count", "re")) {
    if (std::fscanf(f, "%zu", &n) != 1) n = 65530;
    std::fclose(f);
  }
  if (SMARM_VALGRIND) n = std::min<std::size_t>(n, 20'000);  // it knows 30,000 mappings at most
  return n;
}

}  // namespace

std::uint8_t stack_class_of(std::size_t bytes) {
  std::size_t shift = std::bit_width(bytes ? bytes - 1 : 0);
  if (shift < kMinStackShift) shift = kMinStackShift;
  if (shift > kMaxStackShift) shift = kMaxStackShift;
  return static_cast<std::uint8_t>(shift - kMinStackShift);
}

StackPool::StackPool(GuardKind guards) : guards_(guards) {
  if (guards_ == GuardKind::automatic)
    guards_ = kernel_installs_guards() ? GuardKind::install : GuardKind::protect;
  if (guards_ == GuardKind::protect) {
    max_map_count_ = read_max_map_count();
    limit_ = max_map_count_ > 2 * kMappingReserve ? (max_map_count_ - kMappingReserve) / 2
                                                  : kMappingReserve / 2;
  }
}

StackPool::~StackPool() {
  for (unsigned stack : known_to_valgrind_) forget_stack_of_valgrind(stack);
  for (auto [base, size] : slabs_) {
    if (StackSlab* known = find_stacks(base)) known->forget();
    valgrind_leave_addresses(base, size, false);
    ::munmap(base, size);
  }
}

StackPool& StackPool::instance() {
  static StackPool* pool =
      new StackPool;  // never destroyed: static generators may outlive every other static
  return *pool;
}

bool StackPool::reserve_counted() {
  std::lock_guard lock(mutex_);
  if (reserved_ < limit_) return ++reserved_, true;
  set_last_error(
      "no more than %zu stacks at once: this kernel needs two mappings for each guard page and "
      "vm.max_map_count is %zu; raise it (sysctl -w "
      "vm.max_map_count=1048576) or use Linux 6.13 or later",
      limit_, max_map_count_);
  return false;
}

void StackPool::unreserve_counted() {
  std::lock_guard lock(mutex_);
  --reserved_;
}

std::size_t StackPool::carved() const {
  std::lock_guard lock(mutex_);
  return carved_;
}

std::size_t StackPool::in_use() const {
  std::lock_guard lock(mutex_);
  std::size_t n = 0;
  for (const Class& c : classes_) n += c.in_use;
  return n;
}

// Puts guards under n slots from `base` on; returns how many have one.
std::size_t StackPool::guard(char* base, std::size_t slot, std::size_t n) {
  iovec ranges[kBatch];
  for (std::size_t i = 0; i < n; ++i) ranges[i] = {base + i * slot, slot / 4};
  if (guards_ == GuardKind::install) return advise_each({ranges, n}, kMadvGuardInstall);
  std::size_t made = 0;
  while (made < n && ::mprotect(ranges[made].iov_base, slot / 4, PROT_NONE) == 0) ++made;
  return made;
}

// Makes kBatch slots (fewer at the end of memory) available as cold ones. False:
// set_last_error says why.
bool StackPool::carve(std::uint8_t cls, Class& c) {
  const std::size_t size = std::size_t{1} << (cls + kMinStackShift);
  if (c.next == c.end) {
    const std::size_t bytes = c.next_slab_slots * size;
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (p == MAP_FAILED) {
      set_last_error(
          "no memory for stacks: mmap of %zu bytes: %s; lower runtime.stack_kib or the number of "
          "actors",
          bytes, std::strerror(errno));
      return false;
    }
    ::madvise(p, bytes,
              MADV_NOHUGEPAGE);  // refused by kernels without huge pages, which is as good
    slabs_.emplace_back(static_cast<char*>(p), bytes);
    map_stacks(static_cast<char*>(p), bytes, cls, guards_);
    valgrind_leave_addresses(p, bytes, true);
    c.next = static_cast<char*>(p);
    c.end = c.next + bytes;
    if (c.next_slab_slots < 4096 && bytes < (std::size_t{256} << 20)) c.next_slab_slots *= 2;
  }
  const std::size_t left = static_cast<std::size_t>(c.end - c.next) / size;
  const std::size_t made = guard(c.next, size, std::min(left, kBatch));
  for (std::size_t i = 0; i < made; ++i, c.next += size) {
    c.cold.push_back(c.next);
    if (SMARM_VALGRIND) known_to_valgrind_.push_back(tell_valgrind_of_stack(c.next, c.next + size));
  }
  carved_ += made;
  if (made == 0) {
    set_last_error(
        "no guard page for a stack (%zu stacks have one): %s; vm.max_map_count may be too low "
        "(sysctl -w vm.max_map_count=1048576)",
        carved_, std::strerror(errno));
  }
  return made > 0;
}

std::size_t StackPool::acquire(std::uint8_t cls, Stack* out, std::size_t n) {
  std::lock_guard lock(mutex_);
  Class& c = classes_[cls];
  std::size_t got = 0;
  while (got < n) {
    std::vector<char*>& from = c.warm.empty() ? c.cold : c.warm;
    if (from.empty()) {
      if (got > 0 || !carve(cls, c))
        break;  // a batch is made only when the caller would leave empty-handed
      continue;
    }
    out[got++] = {from.back(), cls};
    from.pop_back();
  }
  c.in_use += got;
  return got;
}

void StackPool::release(const Stack* stacks, std::size_t n) {
  for (std::size_t i = 0; i < n; i += kBatch) release_batch({stacks + i, std::min(n - i, kBatch)});
}

// As many slots may rest warm as are in use, so that a crowd that comes and goes finds its pages
// again; while the crowd shrinks, each that leaves takes one of the resting with it. What rests
// warm keeps its deep pages until its batch's turn comes: few actors ever have any, and looking
// costs half a microsecond a stack.
void StackPool::release_batch(std::span<const Stack> stacks) {
  const std::uint8_t cls = stacks.front().cls;
  Class& c = classes_[cls];
  std::size_t keep;
  bool trim;
  char* cooled[2 * kBatch];
  std::size_t n_cooled = 0;
  {
    std::lock_guard lock(mutex_);
    c.in_use -= stacks.size();
    const std::size_t limit = std::max(kLeastWarm, c.in_use);
    keep = c.warm.size() < limit ? std::min(limit - c.warm.size(), stacks.size()) : 0;
    for (; c.warm.size() > limit && n_cooled < stacks.size(); c.warm.pop_back())
      cooled[n_cooled++] = c.warm.back();
    trim = ++c.released % kTrimTurn == 0;
  }
  for (const Stack& s : stacks.subspan(keep)) cooled[n_cooled++] = s.base;
  iovec ranges[3 * kBatch];
  std::size_t n_ranges = 0;
  const auto give_back = [&](const Stack& s, std::size_t kept) {
    const std::size_t bytes = static_cast<std::size_t>(s.top() - s.bottom()) - kept;
    if (bytes) ranges[n_ranges++] = {s.bottom(), bytes};
  };
  for (std::size_t i = 0; i < n_cooled; ++i) give_back({cooled[i], cls}, 0);
  for (std::size_t i = 0; trim && i < keep; ++i) give_back(stacks[i], kPage);
  SMARM_ASSERT(advise_each({ranges, n_ranges}, MADV_DONTNEED) == n_ranges);
  std::lock_guard lock(mutex_);
  for (const Stack& s : stacks.first(keep)) c.warm.push_back(s.base);
  c.cold.insert(c.cold.end(), cooled, cooled + n_cooled);
}

}  // namespace smarm
