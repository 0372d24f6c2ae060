#include "runtime/actor/table.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/last_error.hpp"

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
  for (;;) {
    {
      std::lock_guard guard(lock_);
      if (Actor* first = batches_) {
        batches_ = first->wait_next;
        first->wait_next = nullptr;
        return first;
      }
    }
    std::lock_guard growing(grow_);
    {
      std::lock_guard guard(lock_);
      if (batches_) continue;
    }
    if (!grow()) return nullptr;
  }
}

// Makes a chunk, cut into batches. Under grow_.
Actor* ActorTable::grow() {
  const std::uint32_t first =
      size_.load(std::memory_order_relaxed);  // relaxed: written under grow_ only
  if (first >> kChunkShift == kMaxChunks) {
    set_last_error("no more than %u actors at once", kMaxChunks * kChunkSize);
    return nullptr;
  }
  auto* blocks = static_cast<Actor*>(
      ::operator new(sizeof(Actor) * kChunkSize, std::align_val_t{alignof(Actor)}, std::nothrow));
  if (!blocks) {
    set_last_error("no memory for another %u actors", kChunkSize);
    return nullptr;
  }
  for (std::uint32_t i = 0; i < kChunkSize; ++i) {
    Actor* a = new (&blocks[i]) Actor;
    a->index = first + i;
    a->word.store(state_word::make(1, 0, ActorState::free),
                  std::memory_order_relaxed);  // relaxed: published below
  }
  chunks_[first >> kChunkShift].store(blocks, std::memory_order_release);
  size_.store(first + kChunkSize, std::memory_order_release);
  for (std::uint32_t i = kChunkSize; i > 0; i -= kBatch) {
    Actor* chain = nullptr;
    for (std::uint32_t j = i; j > i - kBatch; --j) {
      Actor* a = &blocks[j - 1];
      if (a->index == 0) continue;
      a->link = chain;
      chain = a;
    }
    std::lock_guard guard(lock_);
    chain->wait_next = batches_;
    batches_ = chain;
  }
  return blocks;
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
