// An asymmetric memory barrier: free on the side that is used a million times, dear on the side
// that is used once.
//
// Dekker's pattern wants a full barrier on both sides between "say that I am here" and "look
// whether the other is there". heavy_barrier() makes every CPU that runs a thread of this process
// pass one (membarrier(2), some microseconds), so that light_barrier() need only stop the compiler.
// (Linux's RCU and biased locks do the same: Kawachiya et al., "Lock reservation", 2002.)
#pragma once

#include "runtime/base/sanitizer.hpp"

#include <atomic>

namespace smarm {

// ThreadSanitizer knows nothing of membarrier: there both sides use sequential consistency.
inline constexpr std::memory_order kLightOrder =
    SMARM_TSAN ? std::memory_order_seq_cst : std::memory_order_relaxed;
inline constexpr std::memory_order kLightAcquire =
    SMARM_TSAN ? std::memory_order_seq_cst : std::memory_order_acquire;

// Between a store and a load, both with kLightOrder.
inline void light_barrier() { std::atomic_signal_fence(std::memory_order_seq_cst); }

// False where the kernel or a filter refuses it: then nobody may rely on a light barrier.
bool have_heavy_barrier();
void heavy_barrier();

}  // namespace smarm
