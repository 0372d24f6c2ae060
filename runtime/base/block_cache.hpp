// Recycling of small blocks: closures, messages, channels. A block that one actor frees is the next
// one's memory without a trip to malloc.
//
// Threads: a BlockCache belongs to one worker. Blocks wander between caches (made by a producer,
// freed by a consumer), so a full cache hands a batch to the shared depot and an empty one takes a
// batch from it (Bonwick and Adams, "Magazines and Vmem", 2001).
// 1. Every block of a class was allocated with malloc(class size): any thread without a cache may
// use malloc and free.
// 2. A cache holds at most 2 * kBatch blocks of a class.
#pragma once

#include <cstddef>

namespace smarm {

inline constexpr std::size_t kBlockClasses = 8;
inline constexpr std::size_t kLargestBlock = 520;

namespace detail {
// Eight more than multiples of 16: what glibc's malloc has room for beside its own word.
inline constexpr unsigned short kBlockClassSize[kBlockClasses] = {40,  56,  72,  104,
                                                                  136, 200, 264, 520};
// By (size + 7) / 16.
inline constexpr unsigned char kBlockClassOf[] = {0, 0, 0, 1, 2, 3, 3, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6,
                                                  7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};
}  // namespace detail

// The size class of a request of 1 to kLargestBlock bytes.
constexpr std::size_t block_class(std::size_t size) {
  return detail::kBlockClassOf[(size + 7) / 16];
}
constexpr std::size_t block_class_size(std::size_t cls) { return detail::kBlockClassSize[cls]; }

class BlockCache {
 public:
  static constexpr std::size_t kBatch = 64;

  BlockCache() = default;
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache();

  void* alloc(std::size_t cls) noexcept {  // nullptr when memory is out
    void* block = take(cls);
    return block ? block : refill(cls);
  }
  void* take(std::size_t cls) noexcept {  // nullptr when the cache has none
    Free*& list = lists_[cls].head;
    if (Free* block = list) [[likely]] {
      list = block->next;
      if (list)
        __builtin_prefetch(list, 1);  // freed by another core perhaps, and the next to be written
      --lists_[cls].count;
      return block;
    }
    return nullptr;
  }
  void free(void* memory, std::size_t cls) noexcept {
    List& list = lists_[cls];
    if (list.count == 2 * kBatch) [[unlikely]]
      return flush_and_free(memory, cls);
    Free* block = static_cast<Free*>(memory);
    block->next = list.head;
    list.head = block;
    ++list.count;
  }

 private:
  struct Free {
    Free* next;
  };
  struct List {
    Free* head = nullptr;
    std::size_t count = 0;
  };
  void* refill(std::size_t cls) noexcept;
  void flush_batch(std::size_t cls) noexcept;
  void flush_and_free(void* memory, std::size_t cls) noexcept;
  List lists_[kBlockClasses];
};

// For threads without a cache, and for sizes beyond the classes.
void* raw_block_alloc(std::size_t size) noexcept;
void raw_block_free(void* block) noexcept;

}  // namespace smarm
