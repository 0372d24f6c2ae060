#include "runtime/base/block_cache.hpp"

#include "runtime/base/spinlock.hpp"

#include <cstdlib>
#include <mutex>
#include <utility>

namespace smarm {

namespace {

// A chain of kBatch free blocks, linked by their first word; batches are linked by the second word
// of their first block.
struct Batch {
  void* next_block;
  Batch* next_batch;
};

struct alignas(kCacheLine) Shelf {
  static constexpr std::size_t kLimit = 256;  // batches kept; what is over goes back to malloc
  Spinlock lock;                              // rank: depot, a leaf
  Batch* batches = nullptr;
  std::size_t count = 0;
};
Shelf depot[kBlockClasses];

Batch* take_batch(std::size_t cls) noexcept {
  Shelf& shelf = depot[cls];
  std::lock_guard guard(shelf.lock);
  Batch* batch = shelf.batches;
  if (batch) {
    shelf.batches = batch->next_batch;
    --shelf.count;
  }
  return batch;
}

bool put_batch(std::size_t cls, Batch* batch) noexcept {
  Shelf& shelf = depot[cls];
  std::lock_guard guard(shelf.lock);
  if (shelf.count == Shelf::kLimit) return false;
  batch->next_batch = shelf.batches;
  shelf.batches = batch;
  ++shelf.count;
  return true;
}

}  // namespace

void* BlockCache::refill(std::size_t cls) noexcept {
  if (Batch* batch = take_batch(cls)) {
    lists_[cls].head = static_cast<Free*>(batch->next_block);
    lists_[cls].count = kBatch - 1;
    return batch;
  }
  return std::malloc(block_class_size(cls));
}

void BlockCache::flush_batch(std::size_t cls) noexcept {
  List& list = lists_[cls];
  Free* first = list.head;
  Free* last = first;
  for (std::size_t i = 1; i < kBatch; ++i) last = last->next;
  list.head = last->next;
  list.count -= kBatch;
  last->next = nullptr;
  if (put_batch(cls, reinterpret_cast<Batch*>(first))) return;
  while (first) std::free(std::exchange(first, first->next));
}

void BlockCache::flush_and_free(void* memory, std::size_t cls) noexcept {
  flush_batch(cls);
  free(memory, cls);
}

BlockCache::~BlockCache() {
  for (std::size_t cls = 0; cls < kBlockClasses; ++cls) {
    while (lists_[cls].count >= kBatch) flush_batch(cls);
    while (Free* block = lists_[cls].head) {
      lists_[cls].head = block->next;
      std::free(block);
    }
  }
}

void* raw_block_alloc(std::size_t size) noexcept {
  return std::malloc(size <= kLargestBlock && size ? block_class_size(block_class(size)) : size);
}
void raw_block_free(void* block) noexcept { std::free(block); }

}  // namespace smarm
