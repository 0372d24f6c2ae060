#include "runtime/io/fd_table.hpp"

namespace smarm {

FdTable::~FdTable() {
  for (auto& chunk : chunks_) delete[] chunk.load(std::memory_order_relaxed);
}

FdEntry* FdTable::get(int fd) {
  if (fd < 0 || fd / kChunk >= kChunks) return nullptr;
  std::atomic<FdEntry*>& place = chunks_[fd / kChunk];
  FdEntry* chunk = place.load(std::memory_order_acquire);
  if (!chunk) {
    auto* fresh = new FdEntry[kChunk];
    if (place.compare_exchange_strong(chunk, fresh, std::memory_order_acq_rel)) {
      chunk = fresh;
    } else {
      delete[] fresh;
    }
  }
  return &chunk[fd % kChunk];
}

}  // namespace smarm
