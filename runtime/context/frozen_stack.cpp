#include "runtime/context/frozen_stack.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/context/context.hpp"
#include "runtime/context/stack_map.hpp"

#include <fcntl.h>
#include <immintrin.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace smarm {

// The packed words: two bits a word that say what it is, then four bytes for a word whose upper
// half is a usual one, eight for any other, none for zero. Return addresses, saved frame pointers
// and heap addresses share their upper halves, so about a third of the bytes is left.
struct FrozenStack {
  char* base;           // of the slot
  std::uint32_t first;  // the word of the slot at sp
  std::uint16_t words;
  std::uint8_t cls;
  std::uint32_t data[];  // two bits for each word, then the values
};

namespace {

constexpr int kMadvGuardInstall = 102;  // Linux 6.13; not in this libc's headers
constexpr int kMadvGuardRemove = 103;
constexpr std::uintptr_t kPage = 4096;
constexpr std::size_t kMostWords = 8192;  // more on a stack than this would not get much smaller
constexpr std::size_t kWholeSlot = 64 * 1024;

// The word of a slot: 0 when the stack is whole, else a FrozenStack and these.
constexpr std::uintptr_t kBusy = 1;    // one thread is freezing or thawing it
constexpr std::uintptr_t kThawed = 2;  // whole again; the record waits for its owner
constexpr std::uintptr_t kNobody = 0;

constexpr std::uint32_t kZero = 0, kNear = 1, kText = 2, kAny = 3;

std::atomic<std::size_t> records{0};

// /proc/self/mem of the process that opened it; a forked child has the same descriptor for its
// parent's memory.
std::atomic<int> own_memory{-1};
std::atomic<pid_t> owner{0};

FrozenStack* record_of(std::uintptr_t word) {
  return reinterpret_cast<FrozenStack*>(word & ~(kBusy | kThawed));
}

// The part of a slot that loses its pages and its access. Of a large stack only what is live: a
// guard needs page tables.
struct Range {
  char* begin;
  std::size_t size;
  Range(Stack s, void* sp) : begin(s.bottom()), size(static_cast<std::size_t>(s.top() - begin)) {
    if (size <= kWholeSlot) return;
    begin = reinterpret_cast<char*>(reinterpret_cast<std::uintptr_t>(sp) & ~(kPage - 1));
    size = static_cast<std::size_t>(s.top() - begin);
  }
  bool holds(const void* address) const {
    return static_cast<std::uintptr_t>(static_cast<const char*>(address) - begin) < size;
  }
  bool protect(int how) const { return ::mprotect(begin, size, how) == 0; }
  bool advise(int what) const { return ::madvise(begin, size, what) == 0; }
};

Stack stack_of(const FrozenStack& f) { return {f.base, f.cls}; }
void* sp_of(const FrozenStack& f) { return f.base + std::size_t{f.first} * 8; }

// ---- packing ----
// Not instrumented: the words of others' frames are poisoned to the sanitizers.

std::uint32_t upper(const void* p) {
  return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(p) >> 32);
}
std::uint32_t text_half() { return upper(reinterpret_cast<const void*>(&smarm_stack_start)); }

constexpr std::size_t tag_units(std::size_t words) { return (words + 15) / 16; }

// How many units of four bytes the record of these words needs; with `out` it is filled.
[[gnu::noinline, gnu::no_sanitize("address", "thread", "undefined")]] std::size_t pack(
    const std::uint64_t* from, std::size_t words, std::uint32_t* out) {
  const std::uint32_t near = upper(from), text = text_half();
  std::size_t at = tag_units(words);
  std::uint32_t tags = 0;
  for (std::size_t i = 0; i < words; ++i) {
    const std::uint64_t word = from[i];
    const auto high = static_cast<std::uint32_t>(word >> 32);
    const std::uint32_t kind =
        word == 0 ? kZero : (high == near ? kNear : (high == text ? kText : kAny));
    if (out) {
      if (kind != kZero) out[at] = static_cast<std::uint32_t>(word);
      if (kind == kAny) out[at + 1] = high;
      tags |= kind << i % 16 * 2;
      if (i % 16 == 15 || i + 1 == words) {
        out[i / 16] = tags;
        tags = 0;
      }
    }
    at += kind == kZero ? 0 : (kind == kAny ? 2 : 1);
  }
  return at;
}

FrozenStack* make_record(Stack s, void* sp, std::size_t words) {
  const auto* from = static_cast<const std::uint64_t*>(sp);
  auto* f = static_cast<FrozenStack*>(
      std::malloc(offsetof(FrozenStack, data) + 4 * pack(from, words, nullptr)));
  if (!f) return nullptr;
  f->base = s.base;
  f->first = static_cast<std::uint32_t>((static_cast<char*>(sp) - s.base) / 8);
  f->words = static_cast<std::uint16_t>(words);
  f->cls = s.cls;
  pack(from, words, f->data);
  return f;
}

// Calls put(address, words, n) for pieces of the content.
template <class F>
void unpack(const FrozenStack& f, F put) {
  constexpr std::size_t kPiece = 64;
  std::uint64_t piece[kPiece];
  auto* to = static_cast<char*>(sp_of(f));
  const std::uint64_t near = std::uint64_t{upper(to)} << 32;
  const std::uint64_t text = std::uint64_t{text_half()} << 32;
  const std::uint32_t* value = f.data + tag_units(f.words);
  for (std::size_t i = 0; i < f.words; ++i) {
    std::uint64_t& word = piece[i % kPiece];
    switch (f.data[i / 16] >> i % 16 * 2 & 3) {
      case kZero: word = 0; break;
      case kNear: word = near | *value++; break;
      case kText: word = text | *value++; break;
      default: word = std::uint64_t{value[1]} << 32 | value[0]; value += 2;
    }
    if (i % kPiece == kPiece - 1 || i + 1 == f.words) {
      const std::size_t n = i % kPiece + 1;
      put(to, piece, n);
      to += n * 8;
    }
  }
}

// By an instruction that no sanitizer sees.
void copy_plainly(char* to, const std::uint64_t* words, std::size_t n) {
  asm volatile("rep movsq" : "+D"(to), "+S"(words), "+c"(n) : : "memory");
}

bool write_beneath(int memory, char* to, const std::uint64_t* words, std::size_t n) {
  const auto size = static_cast<ssize_t>(n * 8);
  return ::pwrite(memory, words, n * 8, static_cast<off_t>(reinterpret_cast<std::uintptr_t>(to))) ==
         size;
}

bool is_owner() { return ::getpid() == owner.load(std::memory_order_relaxed); }

// Gives the content back, then access. In order; by one thread at a time for each slot.
void restore(const FrozenStack& f, GuardKind guards) {
  const Range range(stack_of(f), sp_of(f));
  const int memory = own_memory.load(std::memory_order_relaxed);
  // Without access nobody can look before the content is back. Where the kernel refuses that (it
  // counts mappings), and in a forked child, which has one thread, content comes after access.
  bool hidden = is_owner();
  if (guards == GuardKind::install) {
    hidden = hidden && range.protect(PROT_NONE);
    SMARM_ASSERT(range.advise(kMadvGuardRemove));
  }
  if (hidden)
    unpack(f, [&](char* to, const std::uint64_t* words, std::size_t n) {
      SMARM_ASSERT(write_beneath(memory, to, words, n));
    });
  SMARM_ASSERT(range.protect(PROT_READ | PROT_WRITE));
  if (!hidden) unpack(f, copy_plainly);
}

// Takes the access away, then the pages. (The kernel frees pages first and installs guards then:
// who might still read would see zeros in between.)
bool vanish(const Range& range, GuardKind guards) {
  if (!range.protect(PROT_NONE)) return false;
  if (guards == GuardKind::protect) return range.advise(MADV_DONTNEED);
  if (!range.advise(kMadvGuardInstall)) return false;        // frees the pages too
  static_cast<void>(range.protect(PROT_READ | PROT_WRITE));  // so that the mappings merge again
  return true;
}

void pause_briefly(int& turns) {
  if (++turns < 64) {
    _mm_pause();
  } else {
    ::sched_yield();
  }
}

// Marks a slot with a record as busy. False: it is whole; `word` says what it held last.
bool begin_thaw(std::atomic<std::uintptr_t>& slot, std::uintptr_t& word) {
  int turns = 0;
  for (;;) {
    word = slot.load(std::memory_order_acquire);
    if (word & kBusy) {
      pause_briefly(turns);
    } else if (word == kNobody || (word & kThawed)) {
      return false;
    } else if (slot.compare_exchange_weak(word, word | kBusy, std::memory_order_acquire)) {
      return true;
    }
  }
}

// The kernel may forbid what restore() needs: tried once, on a page of its own.
bool writes_beneath(int memory) {
  void* page = ::mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return false;
  const std::uint64_t word = 0x1234567890abcdef;
  const bool wrote = write_beneath(memory, static_cast<char*>(page), &word, 1);
  const bool right = wrote && ::mprotect(page, kPage, PROT_READ) == 0 &&
                     *static_cast<const volatile std::uint64_t*>(page) == word;
  ::munmap(page, kPage);
  return right;
}

}  // namespace

bool can_freeze_stacks() {
  static constinit std::mutex opening;
  std::lock_guard guard(opening);
  if (owner.load(std::memory_order_relaxed) == ::getpid()) return true;
  const int memory = ::open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  if (memory < 0) {
    set_last_error("stacks cannot hibernate: /proc/self/mem: %s", std::strerror(errno));
    return false;
  }
  if (!writes_beneath(memory)) {
    ::close(memory);
    set_last_error(
        "stacks cannot hibernate: this kernel lets nobody write to protected pages of its own "
        "through /proc/self/mem (proc_mem.force_override)");
    return false;
  }
  own_memory.store(memory, std::memory_order_relaxed);
  owner.store(::getpid(), std::memory_order_relaxed);
  return true;
}

FrozenStack* freeze_stack(Stack stack, void* sp, void* end) noexcept {
  const auto words = static_cast<std::size_t>(static_cast<char*>(end) - static_cast<char*>(sp)) / 8;
  StackSlab* slab = find_stacks(stack.base);
  if (!slab || words > kMostWords || !is_owner()) return nullptr;
  std::atomic<std::uintptr_t>* slot = slab->make_word(stack.base);
  if (!slot) return nullptr;
  const Range range(stack, sp);
  // acquire and release on the slot: what a thread did to the stack while it was busy.
  SMARM_ASSERT(slot->exchange(kBusy, std::memory_order_acquire) == kNobody);
  FrozenStack* f = nullptr;
  if (range.protect(PROT_READ)) {
    f = make_record(stack, sp, words);
    if (f && !vanish(range, slab->guards())) {
      std::free(f);
      f = nullptr;
    }
    if (!f) SMARM_ASSERT(range.protect(PROT_READ | PROT_WRITE));
  }
  slot->store(reinterpret_cast<std::uintptr_t>(f), std::memory_order_release);
  if (!f) return nullptr;
  records.fetch_add(1, std::memory_order_relaxed);
  if (range.begin != stack.bottom())
    ::madvise(stack.bottom(), static_cast<std::size_t>(range.begin - stack.bottom()),
              MADV_DONTNEED);
  return f;
}

Stack thaw_stack(FrozenStack* frozen) noexcept {
  const Stack stack = stack_of(*frozen);
  StackSlab* slab = find_stacks(stack.base);
  std::atomic<std::uintptr_t>& slot = *slab->word(stack.base);
  std::uintptr_t word;
  if (begin_thaw(slot, word)) restore(*frozen, slab->guards());
  slot.store(kNobody, std::memory_order_release);
  std::free(frozen);
  records.fetch_sub(1, std::memory_order_relaxed);
  return stack;
}

bool thaw_frozen_at(const void* address) noexcept {
  StackSlab* slab = find_stacks(address);
  if (!slab) return false;
  const Stack stack = slab->slot_of(address);
  std::atomic<std::uintptr_t>* slot = slab->word(address);
  if (!slot || address < stack.bottom()) return false;
  std::uintptr_t word;
  if (begin_thaw(*slot, word)) {
    restore(*record_of(word), slab->guards());
    slot->store(word | kThawed, std::memory_order_release);
  }
  return true;
}

std::size_t frozen_stacks() noexcept { return records.load(std::memory_order_relaxed); }

}  // namespace smarm
