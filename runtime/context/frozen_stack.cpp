#include "runtime/context/frozen_stack.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/base/valgrind.hpp"
#include "runtime/context/context.hpp"
#include "runtime/context/stack_map.hpp"

#include <fcntl.h>
#include <immintrin.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

namespace smarm {

// The packed words, in groups of sixteen: a bit for each group that says whether it is there (an
// untouched buffer is not), then, of those that are, two bits a word that say what it is and four
// bytes for a word whose upper half is a usual one, eight for any other, none for zero. Return
// addresses, saved frame pointers and heap addresses share their upper halves, so about a third of
// the bytes is left.
struct FrozenStack {
  char* base;           // of the slot
  std::uint32_t first;  // the word of the slot at sp
  std::uint16_t words;
  std::uint8_t cls;
  std::uint32_t data[];  // the map of groups, then for each its words' kinds and its values
};

namespace {

constexpr int kMadvGuardInstall = 102;  // Linux 6.13; not in this libc's headers
constexpr int kMadvGuardRemove = 103;
constexpr std::uintptr_t kPage = 4096;
constexpr std::size_t kMostWords = 8192;  // more on a stack than this would not get much smaller
constexpr std::ptrdiff_t kWholeSlot = 64 * 1024;

// The word of a slot: 0 when the stack is whole, else a FrozenStack and these.
constexpr std::uintptr_t kBusy = 1;    // one thread is freezing or thawing it
constexpr std::uintptr_t kThawed = 2;  // whole again; the record waits for its owner
constexpr std::uintptr_t kNobody = 0;

constexpr std::uint32_t kZero = 0, kNear = 1, kText = 2, kAny = 3;

// /proc/self/mem of the process that opened it; a forked child has the same descriptor for its
// parent's memory.
std::atomic<int> own_memory{-1};
std::atomic<int> page_putter{-1};  // a userfaultfd; -1: none that is of use
std::atomic<pid_t> owner{0};

FrozenStack* record_of(std::uintptr_t word) {
  return reinterpret_cast<FrozenStack*>(word & ~(kBusy | kThawed));
}

char* page_of(void* address) {
  return reinterpret_cast<char*>(reinterpret_cast<std::uintptr_t>(address) & ~(kPage - 1));
}

// Memory that changes its protection at once.
struct Range {
  char* begin;
  char* end;
  std::size_t size() const { return static_cast<std::size_t>(end - begin); }
  bool protect(int how) const { return ::mprotect(begin, size(), how) == 0; }
  bool advise(int what) const { return ::madvise(begin, size(), what) == 0; }
};

// The part of a slot that loses its pages and its access. Of a large stack only what is live: a
// guard needs page tables.
Range range_of(Stack s, void* sp) {
  const bool whole = s.top() - s.bottom() <= kWholeSlot;
  return {whole ? s.bottom() : page_of(sp), s.top()};
}

Stack stack_of(const FrozenStack& f) { return {f.base, f.cls}; }
char* sp_of(const FrozenStack& f) { return f.base + std::size_t{f.first} * 8; }

// ---- packing ----
// Not instrumented: the words of others' frames are poisoned to the sanitizers.

std::uint32_t upper(const void* p) {
  return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(p) >> 32);
}
std::uint32_t text_half() { return upper(reinterpret_cast<const void*>(&smarm_stack_start)); }

// What is expected of a word, and packed as zero: a saved frame begins with control words, which
// hardly anybody changes from the ABI's defaults.
constexpr std::uint64_t usual_word(std::size_t i) { return i == 0 ? 0x0000'037f'0000'1f80 : 0; }

constexpr std::size_t kGroup = 16;  // words
constexpr std::size_t map_units(std::size_t words) {
  return (words + 32 * kGroup - 1) / (32 * kGroup);
}

std::uint32_t kind_of(std::uint64_t word, std::uint32_t near, std::uint32_t text) {
  const auto high = static_cast<std::uint32_t>(word >> 32);
  return word == 0 ? kZero : (high == near ? kNear : (high == text ? kText : kAny));
}

// How many units of four bytes the record of these words needs; with `out` it is filled.
[[gnu::noinline, gnu::no_sanitize("address", "thread", "undefined")]] std::size_t pack(
    const std::uint64_t* from, std::size_t words, std::uint32_t* out) {
  const std::uint32_t near = upper(from), text = text_half();
  std::size_t at = map_units(words);
  for (std::size_t unit = 0; out && unit < at; ++unit) out[unit] = 0;
  for (std::size_t group = 0; group * kGroup < words; ++group) {
    const std::size_t begin = group * kGroup, end = std::min(begin + kGroup, words);
    const std::size_t tags_at = at;
    std::uint32_t tags = 0;
    ++at;
    for (std::size_t i = begin; i < end; ++i) {
      const std::uint64_t word = from[i] ^ usual_word(i);
      const std::uint32_t kind = kind_of(word, near, text);
      tags |= kind << i % kGroup * 2;
      if (out && kind != kZero) out[at] = static_cast<std::uint32_t>(word);
      if (out && kind == kAny) out[at + 1] = static_cast<std::uint32_t>(word >> 32);
      at += kind == kZero ? 0 : (kind == kAny ? 2 : 1);
    }
    if (tags == 0) {
      at = tags_at;
    } else if (out) {
      out[group / 32] |= 1u << group % 32;
      out[tags_at] = tags;
    }
  }
  return at;
}

FrozenStack* make_record(Stack s, void* sp, void* end) {
  const auto* from = static_cast<const std::uint64_t*>(sp);
  const auto words = static_cast<std::size_t>(static_cast<char*>(end) - static_cast<char*>(sp)) / 8;
  valgrind_may_read(from, words * 8);
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

// A page on its way back. Not on the stack: that of an actor may have no room for it.
[[gnu::tls_model("initial-exec")]] constinit thread_local std::uint64_t filled[kPage / 8];

// Calls put(page, first, n) for each page with content, which is in filled[first] to
// filled[first + n - 1]; the other words of `filled` are zero.
template <class F>
void unpack(const FrozenStack& f, F put) {
  char* const sp = sp_of(f);
  const std::uint64_t near = std::uint64_t{upper(sp)} << 32;
  const std::uint64_t text = std::uint64_t{text_half()} << 32;
  const std::uint32_t* next = f.data + map_units(f.words);
  std::uint32_t tags = 0;
  char* page = page_of(sp);
  auto first = static_cast<std::size_t>(sp - page) / 8;
  for (std::size_t i = 0; i < f.words; page += kPage, first = 0) {
    const std::size_t n = std::min(std::size_t{f.words} - i, kPage / 8 - first);
    std::memset(filled, 0, sizeof filled);
    for (std::uint64_t* word = filled + first; word != filled + first + n; ++word, ++i) {
      const std::size_t group = i / kGroup;
      if (i % kGroup == 0) tags = f.data[group / 32] >> group % 32 & 1 ? *next++ : 0;
      switch (tags >> i % kGroup * 2 & 3) {
        case kZero: break;
        case kNear: *word = near | *next++; break;
        case kText: *word = text | *next++; break;
        default: *word = std::uint64_t{next[1]} << 32 | next[0]; next += 2;
      }
      *word ^= usual_word(i);
    }
    put(page, first, n);
  }
}

bool is_owner() { return ::getpid() == owner.load(std::memory_order_relaxed); }

// ---- three ways back ----

// A filled page in the place of a guard or of nothing.
bool put_page(int pages, char* page) {
  uffdio_copy copy{};
  copy.dst = reinterpret_cast<std::uintptr_t>(page);
  copy.src = reinterpret_cast<std::uintptr_t>(filled);
  copy.len = kPage;
  while (::ioctl(pages, UFFDIO_COPY, &copy) != 0) {
    if (errno != EAGAIN) return false;  // EAGAIN: another thread changes mappings
  }
  return true;
}

// Beneath the protection of a page.
bool write_page(int memory, char* page, std::size_t first, std::size_t n) {
  const auto at = reinterpret_cast<std::uintptr_t>(page) + first * 8;
  return ::pwrite(memory, filled + first, n * 8, static_cast<off_t>(at)) ==
         static_cast<ssize_t>(n * 8);
}

// By an instruction that no sanitizer sees.
void copy_page(char* page, std::size_t first, std::size_t n) {
  char* to = page + first * 8;
  const std::uint64_t* from = filled + first;
  asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

void restore_by_pages(const FrozenStack& f, const Range& range) {
  const int pages = page_putter.load(std::memory_order_relaxed);
  unpack(f, [pages](char* page, std::size_t, std::size_t) { SMARM_ASSERT(put_page(pages, page)); });
  char* const live = page_of(sp_of(f));
  if (live == range.begin) return;
  SMARM_ASSERT(
      ::madvise(range.begin, static_cast<std::size_t>(live - range.begin), kMadvGuardRemove) == 0);
}

// Without access nobody can look before the content is back. Where the kernel refuses that (it
// counts mappings), and in a forked child, which has one thread, content comes after access.
void restore_beneath(const FrozenStack& f, const Range& range, GuardKind guards) {
  const int memory = own_memory.load(std::memory_order_relaxed);
  bool hidden = is_owner();
  if (guards == GuardKind::install) {
    hidden = hidden && range.protect(PROT_NONE);
    SMARM_ASSERT(range.advise(kMadvGuardRemove));
  }
  if (hidden)
    unpack(f, [memory](char* page, std::size_t first, std::size_t n) {
      SMARM_ASSERT(write_page(memory, page, first, n));
    });
  SMARM_ASSERT(range.protect(PROT_READ | PROT_WRITE));
  if (!hidden) unpack(f, copy_page);
}

// Gives the content back, then access. By one thread at a time for each slot.
void restore(const FrozenStack& f, const StackSlab& slab) {
  const Range range = range_of(stack_of(f), sp_of(f));
  if (slab.takes_pages_of.load(std::memory_order_relaxed) == ::getpid()) {
    restore_by_pages(f, range);
  } else {
    restore_beneath(f, range, slab.guards());
  }
}

// Takes the access away, then the pages. (The kernel frees pages first and installs guards then:
// who might still read would see zeros in between.)
bool vanish(const Range& range, GuardKind guards) {
  if (!range.protect(PROT_NONE)) return false;
  if (guards == GuardKind::protect) return range.advise(MADV_DONTNEED);
  if (!range.advise(kMadvGuardInstall)) return false;   // frees the pages too
  SMARM_ASSERT(range.protect(PROT_READ | PROT_WRITE));  // the mapping is whole again
  return true;
}

// Undoes what was done to the access of a run that keeps its content.
void open_again(std::span<const StackToFreeze> run, const Range& range, GuardKind guards) {
  SMARM_ASSERT(range.protect(PROT_READ | PROT_WRITE));
  if (guards == GuardKind::install) return;
  for (const StackToFreeze& s : run)
    SMARM_ASSERT((Range{s.stack.base, s.stack.bottom()}.protect(PROT_NONE)));
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

// ---- what this kernel and sandbox allow ----

// One page of its own to try something on.
class TrialPage {
 public:
  explicit TrialPage(int access)
      : page_(::mmap(nullptr, kPage, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  ~TrialPage() {
    if (*this) ::munmap(page_, kPage);
  }
  TrialPage(const TrialPage&) = delete;
  TrialPage& operator=(const TrialPage&) = delete;
  explicit operator bool() const { return page_ != MAP_FAILED; }
  char* get() const { return static_cast<char*>(page_); }
  bool holds(std::uint64_t word) const {
    return ::mprotect(page_, kPage, PROT_READ) == 0 &&
           *static_cast<const volatile std::uint64_t*>(page_) == word;
  }

 private:
  void* page_;
};

constexpr std::uint64_t kTrialWord = 0x1234567890abcdef;

bool writes_beneath(int memory) {
  const TrialPage page(PROT_NONE);
  filled[0] = kTrialWord;
  return page && write_page(memory, page.get(), 0, 1) && page.holds(kTrialWord);
}

// Nothing is protected by it: a registered mapping is one that pages may be put into.
bool register_pages(int pages, char* begin, std::size_t size) {
  uffdio_register all{};
  all.range.start = reinterpret_cast<std::uintptr_t>(begin);
  all.range.len = size;
  all.mode = UFFDIO_REGISTER_MODE_WP;
  return ::ioctl(pages, UFFDIO_REGISTER, &all) == 0;
}

// -1: there is none here, or it leaves guards alone.
int open_page_putter() {
  constexpr int kUserModeOnly = 1;  // UFFD_USER_MODE_ONLY: needs no privilege
  const int pages = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | kUserModeOnly));
  if (pages < 0) return -1;
  uffdio_api api{};
  api.api = UFFD_API;
  const TrialPage page(PROT_READ | PROT_WRITE);
  filled[0] = kTrialWord;
  if (::ioctl(pages, UFFDIO_API, &api) == 0 && page && register_pages(pages, page.get(), kPage) &&
      ::madvise(page.get(), kPage, kMadvGuardInstall) == 0 && put_page(pages, page.get()) &&
      page.holds(kTrialWord))
    return pages;
  ::close(pages);
  return -1;
}

// The slot's word; at the first of a slab its preparation.
std::atomic<std::uintptr_t>* word_of(StackSlab& slab, const void* address) {
  if (auto* known = slab.word(address)) return known;
  const int pages = page_putter.load(std::memory_order_relaxed);
  if (pages >= 0 && slab.guards() == GuardKind::install &&
      register_pages(pages, slab.base(), slab.bytes()))
    slab.takes_pages_of.store(::getpid(), std::memory_order_relaxed);
  return slab.make_word(address);
}

// ---- freezing ----

bool may_freeze(StackSlab& slab, const StackToFreeze& s) {
  const auto live = static_cast<char*>(s.end) - static_cast<char*>(s.sp);
  return static_cast<std::size_t>(live) / 8 <= kMostWords && word_of(slab, s.stack.base) &&
         is_owner();
}

bool side_by_side(const StackToFreeze& a, const StackToFreeze& b) {
  return a.stack.top() == b.stack.base && range_of(b.stack, b.sp).begin == b.stack.bottom();
}

// Stacks side by side: from the first one's usable part to the last one's top, with the guards in
// between, whose owners sleep too.
void freeze_run(StackSlab& slab, std::span<StackToFreeze> run) {
  // acquire and release on the words: what a thread did to the stack while it was busy.
  for (const StackToFreeze& s : run)
    SMARM_ASSERT(slab.word(s.stack.base)->exchange(kBusy, std::memory_order_acquire) == kNobody);
  const Range range{range_of(run.front().stack, run.front().sp).begin, run.back().stack.top()};
  bool done = range.protect(PROT_READ);
  for (StackToFreeze& s : run) {
    if (done) s.frozen = make_record(s.stack, s.sp, s.end);
    done = done && s.frozen;
  }
  done = done && vanish(range, slab.guards());
  if (!done) open_again(run, range, slab.guards());
  for (StackToFreeze& s : run) {
    if (!done) std::free(std::exchange(s.frozen, nullptr));
    slab.word(s.stack.base)
        ->store(reinterpret_cast<std::uintptr_t>(s.frozen), std::memory_order_release);
  }
  if (!done) return;
  frozen_records.fetch_add(run.size(), std::memory_order_relaxed);
  const Stack first = run.front().stack;
  if (range.begin != first.bottom())
    ::madvise(first.bottom(), static_cast<std::size_t>(range.begin - first.bottom()),
              MADV_DONTNEED);
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
  page_putter.store(open_page_putter(), std::memory_order_relaxed);
  owner.store(::getpid(), std::memory_order_relaxed);
  return true;
}

void freeze_stacks(std::span<StackToFreeze> all) noexcept {
  std::ranges::sort(all, {}, [](const StackToFreeze& s) { return s.stack.base; });
  for (std::size_t i = 0; i < all.size();) {
    StackSlab* slab = find_stacks(all[i].stack.base);
    if (!slab || !may_freeze(*slab, all[i])) {
      ++i;
      continue;
    }
    std::size_t n = 1;
    while (i + n < all.size() && side_by_side(all[i + n - 1], all[i + n]) &&
           slab->holds(all[i + n].stack.base) && may_freeze(*slab, all[i + n]))
      ++n;
    freeze_run(*slab, all.subspan(i, n));
    i += n;
  }
}

Stack thaw_stack(FrozenStack* frozen) noexcept {
  const Stack stack = stack_of(*frozen);
  StackSlab* slab = find_stacks(stack.base);
  std::atomic<std::uintptr_t>& slot = *slab->word(stack.base);
  std::uintptr_t word;
  if (begin_thaw(slot, word)) restore(*frozen, *slab);
  slot.store(kNobody, std::memory_order_release);
  std::free(frozen);
  frozen_records.fetch_sub(1, std::memory_order_relaxed);
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
    restore(*record_of(word), *slab);
    slot->store(word | kThawed, std::memory_order_release);
  }
  return true;
}

std::atomic<std::size_t> frozen_records{0};

void put_no_pages() noexcept { page_putter.store(-1, std::memory_order_relaxed); }

}  // namespace smarm
