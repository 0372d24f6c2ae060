#include "runtime/sched/exclusive.hpp"

#include <sched.h>

#include <mutex>

namespace smarm {

namespace {

Exclusive revoking;     // its address alone is used
std::mutex pool_mutex;  // rank: exclusives, a leaf; taken when a runtime is made or destroyed
Exclusive* free_exclusives = nullptr;

}  // namespace

Exclusive* Exclusive::claim() {
  if (!have_heavy_barrier()) return nullptr;
  const std::lock_guard guard(pool_mutex);
  Exclusive* e = free_exclusives;
  if (!e) return new Exclusive;
  free_exclusives = e->next;
  return e;
}

void Exclusive::release(Exclusive* e) {
  if (!e) return;
  const std::lock_guard guard(pool_mutex);
  e->next = free_exclusives;
  free_exclusives = e;
}

void Ownership::revoke_slowly(const void* object) {
  Exclusive* e = owner_.load(std::memory_order_acquire);
  if (e && e != &revoking &&
      owner_.compare_exchange_strong(e, &revoking, std::memory_order_seq_cst)) {
    heavy_barrier();
    while (e->inside.load(kLightAcquire) == object) ::sched_yield();
    owner_.store(nullptr, std::memory_order_release);
    return;
  }
  while (owner_.load(std::memory_order_acquire)) ::sched_yield();  // another thread is at it
}

}  // namespace smarm
