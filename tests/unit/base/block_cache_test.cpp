#include "runtime/base/block_cache.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace {

using namespace smarm;

TEST_SUITE("block cache") {
  TEST_CASE("every size up to the largest has a class that holds it, the tightest") {
    for (std::size_t size = 1; size <= kLargestBlock; ++size) {
      const std::size_t cls = block_class(size);
      REQUIRE(cls < kBlockClasses);
      CHECK(block_class_size(cls) >= size);
      if (cls > 0) CHECK(block_class_size(cls - 1) < size);
    }
  }

  TEST_CASE("blocks are aligned, distinct and used again") {
    BlockCache cache;
    for (std::size_t cls = 0; cls < kBlockClasses; ++cls) {
      std::set<void*> blocks;
      for (int i = 0; i < 300; ++i) {
        void* p = cache.alloc(cls);
        REQUIRE(p != nullptr);
        CHECK(reinterpret_cast<std::uintptr_t>(p) % 16 == 0);
        std::memset(p, 0xff, block_class_size(cls));
        CHECK(blocks.insert(p).second);
      }
      void* last = *blocks.begin();
      for (void* p : blocks) {
        if (p != last) cache.free(p, cls);
      }
      cache.free(last, cls);
      CHECK(cache.alloc(cls) == last);
      cache.free(last, cls);
    }
  }

  TEST_CASE("blocks made on one thread and freed on another come back through the depot") {
    constexpr std::size_t cls = 1;
    BlockCache producer, consumer;
    std::set<void*> seen;
    std::size_t fresh = 0;
    for (int round = 0; round < 50; ++round) {
      std::vector<void*> batch;
      for (int i = 0; i < 200; ++i) {
        batch.push_back(producer.alloc(cls));
        fresh += seen.insert(batch.back()).second;
      }
      std::thread([&] {
        for (void* p : batch) consumer.free(p, cls);
      }).join();
    }
    CHECK(fresh < 1000);  // of 10,000 allocations
  }
}

}  // namespace
