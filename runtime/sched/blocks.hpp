// Small blocks from the calling worker's cache, or from malloc on other threads.
#pragma once

#include "runtime/base/block_cache.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/sched/worker.hpp"

namespace smarm {

// Recycling would hide a use after free from the sanitizers.
inline constexpr bool kRecycleBlocks = !SMARM_ASAN && !SMARM_TSAN;

inline void* alloc_block(std::size_t size) noexcept {
  Worker* w = current_worker();
  if (kRecycleBlocks && w && size - 1 < kLargestBlock) [[likely]]
    return w->blocks.alloc(block_class(size));
  return raw_block_alloc(size ? size : 1);
}

// By class, for those who keep it; w is the calling thread's.
inline void* alloc_block_of(Worker* w, std::size_t cls) noexcept {
  if (kRecycleBlocks && w) [[likely]]
    return w->blocks.alloc(cls);
  return raw_block_alloc(block_class_size(cls));
}
// nullptr when the worker's cache has none; the above may have.
inline void* take_block_of(Worker* w, std::size_t cls) noexcept {
  return kRecycleBlocks && w ? w->blocks.take(cls) : nullptr;
}
inline void free_block_of(Worker* w, void* block, std::size_t cls) noexcept {
  if (kRecycleBlocks && w) [[likely]]
    return w->blocks.free(block, cls);
  raw_block_free(block);
}

inline void free_block(void* block, std::size_t size) noexcept {
  Worker* w = current_worker();
  if (kRecycleBlocks && w && size - 1 < kLargestBlock) [[likely]]
    return w->blocks.free(block, block_class(size));
  raw_block_free(block);
}

}  // namespace smarm
