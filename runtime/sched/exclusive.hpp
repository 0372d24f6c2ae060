// Exclusive use: what one worker touches alone, it touches without locked instructions; another
// thread that comes to it first takes the exclusiveness away, once and for good.
//
// An object carries `owner`, the Exclusive of a worker. That worker enters before it uses the
// object's fields plainly and leaves after; it enters again for every use. Whoever else wants the
// object revokes first.
//
// 1. enter: store `inside`, then read `owner`. revoke: mark `owner`, then read `inside`. With a
// barrier between the two on both sides one sees the other (Dekker); the one of the side that
// enters is free (heavy_barrier.hpp).
// 2. Nothing that blocks, calls back or switches happens between enter and leave.
// 3. `owner` goes from an Exclusive to kRevoking to nullptr and never back.
// 4. An Exclusive is recycled but never freed: a revoker may look at it after its worker has gone.
//
// Used in runtimes of one worker only: with several, actors and what they share wander between
// workers, and a revocation costs some microseconds.
#pragma once

#include "runtime/base/heavy_barrier.hpp"

#include <atomic>

namespace smarm {

struct Exclusive {
  std::atomic<const void*> inside{nullptr};
  Exclusive* next = nullptr;  // free ones

  static Exclusive* claim();  // nullptr where there is no heavy barrier
  static void release(Exclusive* e);
};

class Ownership {
 public:
  explicit Ownership(Exclusive* owner) : owner_(owner) {}

  // On e's worker. True: the caller is inside until leave(). False for nullptr.
  bool enter(Exclusive* e, const void* object) const {
    if (!e) return false;
    e->inside.store(object, kLightOrder);
    light_barrier();
    if (owner_.load(kLightOrder) == e) [[likely]]
      return true;
    leave(e);
    return false;
  }
  // release: pairs with the acquire in revoke; what was written inside is seen by whoever revoked.
  static void leave(Exclusive* e) { e->inside.store(nullptr, std::memory_order_release); }

  bool is_shared() const { return owner_.load(std::memory_order_acquire) == nullptr; }
  // Any thread, before it uses the object otherwise than inside; the owner's own worker may do that
  // without (pass its Exclusive). Costs a load once it is done.
  void revoke_unless(const Exclusive* mine, const void* object) {
    const Exclusive* owner = owner_.load(std::memory_order_acquire);
    if (owner && owner != mine) [[unlikely]]
      revoke_slowly(object);
  }

 private:
  void revoke_slowly(const void* object);

  std::atomic<Exclusive*> owner_;
};

}  // namespace smarm
