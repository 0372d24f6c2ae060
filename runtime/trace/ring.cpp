#include "runtime/trace/ring.hpp"

#include <cstring>
#include <mutex>
#include <new>
#include <utility>

int smarm_trace_on = 0;

namespace smarm {

static_assert(sizeof(smarm_trace_event) == 6 * sizeof(std::uint64_t));

void TraceRing::write(const smarm_trace_event& event) noexcept {
  const std::uint64_t position =
      written_.load(std::memory_order_relaxed);  // relaxed: only this thread writes it
  Slot& slot = slots_[position % kEvents];
  std::uint64_t words[6];
  std::memcpy(words, &event, sizeof words);
  // The reader must not see new words under the old number: invalidate first; the exchange keeps
  // the words behind it.
  slot.number.exchange(0, std::memory_order_acq_rel);
  for (int i = 0; i < 6; ++i) slot.words[i].store(words[i], std::memory_order_relaxed);
  slot.number.store(position + 1,
                    std::memory_order_release);             // pairs with the acquire loads in read
  written_.store(position + 1, std::memory_order_release);  // likewise
}

std::size_t TraceRing::read(smarm_trace_event* out, std::size_t capacity,
                            std::uint64_t& lost) noexcept {
  const std::uint64_t end = written_.load(std::memory_order_acquire);
  if (end - read_ > kEvents) {
    lost += end - kEvents - read_;
    read_ = end - kEvents;
  }
  std::size_t n = 0;
  for (; read_ != end && n < capacity; ++read_) {
    Slot& slot = slots_[read_ % kEvents];
    std::uint64_t words[6];
    bool whole = slot.number.load(std::memory_order_acquire) == read_ + 1;
    for (int i = 0; i < 6; ++i) words[i] = slot.words[i].load(std::memory_order_acquire);
    whole = whole && slot.number.load(std::memory_order_relaxed) ==
                         read_ + 1;  // relaxed: the acquire loads above keep it behind them
    if (whole) {
      std::memcpy(static_cast<void*>(&out[n++]), words, sizeof words);
    } else {
      ++lost;
    }
  }
  return n;
}

TraceRegistry& TraceRegistry::instance() {
  static TraceRegistry* registry = new TraceRegistry;
  return *registry;
}

std::size_t TraceRegistry::claim() noexcept {
  std::lock_guard guard(reader_);
  for (std::size_t i = 1; i < kRings; ++i) {
    if (!std::exchange(claimed_[i], true)) return i;
  }
  return 0;
}

void TraceRegistry::release(std::size_t ring) noexcept {
  std::lock_guard guard(reader_);
  if (ring != 0) claimed_[ring] = false;
}

void TraceRegistry::record(std::size_t index, const smarm_trace_event& event) noexcept {
  std::atomic<TraceRing*>& place = rings_[index < kRings ? index : 0];
  TraceRing* ring = place.load(std::memory_order_acquire);
  if (!ring) {
    auto* fresh = new (std::nothrow) TraceRing;
    if (!fresh) return;
    if (place.compare_exchange_strong(ring, fresh, std::memory_order_acq_rel)) {
      ring = fresh;
    } else {
      delete fresh;
    }
  }
  OptionalLock lock(foreign_, index == 0);
  ring->write(event);
}

std::size_t TraceRegistry::read(smarm_trace_event* out, std::size_t capacity) noexcept {
  std::lock_guard guard(reader_);
  std::size_t n = 0;
  std::uint64_t lost = 0;
  for (auto& place : rings_) {
    if (TraceRing* ring = place.load(std::memory_order_acquire))
      n += ring->read(out + n, capacity - n, lost);
    if (n == capacity) break;
  }
  lost_.fetch_add(lost, std::memory_order_relaxed);
  return n;
}

}  // namespace smarm
