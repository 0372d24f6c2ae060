// The actor table: index -> control block, for the whole process.
//
// Blocks are made in chunks and never freed, so looking a pid up writes nothing, takes no lock and
// cannot meet freed memory. Free blocks are kept in per-worker lists that meet the shared one in
// batches. A chunk is one huge page (but for the first: most programs have few actors), since a
// crowd's blocks are met in no order at all and a miss of the address cache costs more than the
// block.
//
// 1. Index 0 is never an actor.
// 2. A block on a free list has state `free`; its generation is the one its next actor gets.
// 3. A block whose generation would wrap is retired.
#pragma once

#include "runtime/actor/actor.hpp"
#include "runtime/base/spinlock.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace smarm {

class ActorTable {
 public:
  static constexpr std::uint32_t kChunkShift = 13;
  static constexpr std::uint32_t kChunkSize = 1u << kChunkShift;
  static constexpr std::uint32_t kMaxChunks = 1u << 13;  // 64 M actors

  static ActorTable& instance() { return process_; }

  // Any thread. nullptr where there is no chunk; a block that was never used is free and has
  // generation 0, which no pid has.
  Actor* find(std::uint32_t index) const {
    const std::uint32_t chunk = index >> kChunkShift;
    if (chunk >= kMaxChunks) return nullptr;
    // acquire: pairs with the release in grow, which made the chunk.
    Actor* blocks = chunks_[chunk].load(std::memory_order_acquire);
    return blocks && index != 0 ? &blocks[index & (kChunkSize - 1)] : nullptr;
  }
  // The living or ended-but-kept actor of that pid, else nullptr. A snapshot: it may end at once.
  Actor* find(smarm_pid pid) const {
    Actor* a = find(pid.index);
    return a && state_word::generation(a->word.load(std::memory_order_acquire)) == pid.generation
               ? a
               : nullptr;
  }
  // One past the highest index in use so far.
  std::uint32_t end() const { return size_.load(std::memory_order_acquire); }

  // Chains of free blocks through `link`. take: at least one unless the table is full.
  Actor* take_batch();
  void give_batch(Actor* first, Actor* last, std::size_t n);
  static constexpr std::size_t kBatch = 64;

 private:
  Actor* make_batch();
  Actor* chunk_of(std::uint32_t index);

  static ActorTable process_;

  std::array<std::atomic<Actor*>, kMaxChunks> chunks_{};
  std::atomic<std::uint32_t> size_{0};
  Spinlock lock_;  // rank: actor table
  Spinlock grow_;  // rank: actor table growth, before it; held while a batch is made, and a chunk
                   // once per kChunkSize actors
  Actor* batches_ = nullptr;  // first blocks of batches, linked by wait_next
};

// A worker's own free blocks.
class ActorCache {
 public:
  ActorCache() = default;
  ~ActorCache();
  ActorCache(const ActorCache&) = delete;
  ActorCache& operator=(const ActorCache&) = delete;

  Actor* take() {  // nullptr: the table is full, or memory is out
    if (!head_) [[unlikely]] {
      head_ = ActorTable::instance().take_batch();
      if (!head_) return nullptr;
      count_ = 0;
      for (Actor* a = head_; a; a = a->link) ++count_;
    }
    Actor* a = head_;
    head_ = a->link;
    --count_;
    return a;
  }
  // The block must be `done` with nobody left who may touch it; it gets its next generation here.
  void give(Actor* a);

 private:
  void flush();
  Actor* head_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace smarm
