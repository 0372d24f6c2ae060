#include "runtime/actor/table.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/base/sanitizer.hpp"

#include <sys/mman.h>
#if SMARM_ASAN
#include <sanitizer/lsan_interface.h>
#endif

#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>

namespace smarm {

static_assert(sizeof(Actor) % 64 == 0);

const char* wait_kind_name(WaitKind kind) {
  static constexpr const char* names[] = {"",         "park",     "recv",        "send",
                                          "select",   "lock",     "sleep",       "join",
                                          "readable", "writable", "blocking job"};
  return names[static_cast<int>(kind)];
}

std::mutex& extras_lock() {
  static constinit std::mutex lock;
  return lock;
}

constinit ActorTable ActorTable::process_;

Actor* ActorTable::take_batch() {
  {
    std::lock_guard guard(lock_);
    if (Actor* first = batches_) {
      batches_ = first->wait_next;
      first->wait_next = nullptr;
      return first;
    }
  }
  std::lock_guard growing(grow_);
  return make_batch();
}

// The chunk that holds this index, made when it is the first of it. Under grow_.
Actor* ActorTable::chunk_of(std::uint32_t index) {
  constexpr std::size_t kBytes = sizeof(Actor) * kChunkSize;
  std::atomic<Actor*>& slot = chunks_[index >> kChunkShift];
  Actor* blocks = slot.load(std::memory_order_relaxed);  // relaxed: written under grow_ only
  if (blocks) return blocks;
  // Twice as much, so that an aligned chunk lies in it.
  void* p = ::mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    set_last_error("no memory for another %u actors: mmap: %s", kChunkSize, std::strerror(errno));
    return nullptr;
  }
  char* start = static_cast<char*>(p);
  char* aligned = start + (kBytes - reinterpret_cast<std::uintptr_t>(start) % kBytes) % kBytes;
  if (aligned != start) ::munmap(start, static_cast<std::size_t>(aligned - start));
  char* end = start + 2 * kBytes;
  if (aligned + kBytes != end)
    ::munmap(aligned + kBytes, static_cast<std::size_t>(end - aligned - kBytes));
  // Refused by kernels without huge pages: as good, only slower. The first 16,384 do without: they
  // would share few of them, and hold memory for the rest.
  ::madvise(aligned, kBytes, index < 2 * kChunkSize ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
#if SMARM_ASAN
  __lsan_register_root_region(aligned, kBytes);
#endif
  blocks = reinterpret_cast<Actor*>(aligned);
  slot.store(blocks, std::memory_order_release);
  return blocks;
}

// Under grow_.
Actor* ActorTable::make_batch() {
  const std::uint32_t first =
      size_.load(std::memory_order_relaxed);  // relaxed: written under grow_ only
  if (first >> kChunkShift == kMaxChunks) {
    set_last_error("no more than %u actors at once", kMaxChunks * kChunkSize);
    return nullptr;
  }
  Actor* chunk = chunk_of(first);
  if (!chunk) return nullptr;
  Actor* chain = nullptr;
  for (std::uint32_t index = first + kBatch; index-- > first;) {
    if (index == 0) continue;
    Actor* a = new (&chunk[index & (kChunkSize - 1)]) Actor;
    a->index = index;
    a->word.store(state_word::make(1, 0, ActorState::free),
                  std::memory_order_relaxed);  // relaxed: published below
    a->link = chain;
    chain = a;
  }
  size_.store(first + kBatch, std::memory_order_release);
  return chain;
}

void ActorTable::give_batch(Actor* first, Actor* last, std::size_t) {
  last->link = nullptr;
  std::lock_guard guard(lock_);
  first->wait_next = batches_;
  batches_ = first;
}

void ActorCache::give(Actor* a) {
  const std::uint64_t word =
      a->word.load(std::memory_order_relaxed);  // relaxed: nobody else writes a done block
  SMARM_ASSERT(state_word::state(word) == ActorState::done);
  const std::uint32_t generation = state_word::generation(word) + 1;
  if (generation == 0) return;  // used up: retired, or its oldest pids would come to life again
  a->join.store(kJoinNobody, std::memory_order_relaxed);
  a->word.store(state_word::make(generation, word, ActorState::free), std::memory_order_release);
  a->link = head_;
  head_ = a;
  if (++count_ >= 2 * ActorTable::kBatch) flush();
}

// Hands half of the list to the table.
void ActorCache::flush() {
  Actor* first = head_;
  Actor* last = first;
  for (std::size_t i = 1; i < ActorTable::kBatch; ++i) last = last->link;
  head_ = last->link;
  count_ -= ActorTable::kBatch;
  ActorTable::instance().give_batch(first, last, ActorTable::kBatch);
}

ActorCache::~ActorCache() {
  if (!head_) return;
  Actor* last = head_;
  while (last->link) last = last->link;
  ActorTable::instance().give_batch(head_, last, count_);
}

}  // namespace smarm
