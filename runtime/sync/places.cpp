// The room of bounded channels.

#include "runtime/sync/channel_queue.hpp"

#include <mutex>

namespace smarm {

namespace {
constexpr std::uint64_t kPlaceGranted =
    ~std::uint64_t{0};  // in Actor::wait_value of a queued sender
}  // namespace

void give_place(Places& places) {
  Ticket ticket;
  {
    std::lock_guard guard(places.lock);
    Actor* first = places.senders.front();
    if (!first) {
      ++places.free;
      return;
    }
    places.senders.remove(*first);
    ticket = Ticket::unpack(first->wait_value.load(std::memory_order_relaxed));
    first->wait_value.store(kPlaceGranted, std::memory_order_relaxed);
  }
  wake(ticket);
}

int take_place(smarm_channel& c) {
  Places& places = *c.places;
  Actor* self = current_actor();
  for (bool queued = false;;) {
    Ticket ticket;
    {
      std::lock_guard guard(places.lock);
      if (queued && self->wait_value.load(std::memory_order_relaxed) == kPlaceGranted)
        return SMARM_OK;
      if (c.obstacles.load(std::memory_order_acquire) & smarm_channel::kGone) {
        if (queued) places.senders.remove(*self);
        return SMARM_E_CLOSED;
      }
      if (!queued && places.free > 0 && !places.senders.front()) {
        --places.free;
        return SMARM_OK;
      }
      if (!self) return SMARM_E_FULL;
      if (self->dying) return SMARM_E_CLOSED;
      ticket = begin_wait(*self);
      self->wait_value.store(ticket.pack(), std::memory_order_relaxed);
      if (!queued) places.senders.append(*self);
      queued = true;
    }
    if (wait(*self, ticket, WaitKind::send, kNever) == Woken::killed) {
      bool granted;
      {
        std::lock_guard guard(places.lock);
        granted = self->wait_value.load(std::memory_order_relaxed) == kPlaceGranted;
        if (!granted) places.senders.remove(*self);
      }
      if (granted) give_place(places);
      return kKilled;
    }
  }
}

void refuse_waiting_senders(Places& places) {
  for (;;) {
    Ticket ticket;
    {
      std::lock_guard guard(places.lock);
      Actor* first = places.senders.front();
      if (!first) return;
      // Granted, not refused: it will find the receiver gone when it pushes. Its place is worth
      // nothing any more.
      places.senders.remove(*first);
      ticket = Ticket::unpack(first->wait_value.load(std::memory_order_relaxed));
      first->wait_value.store(kPlaceGranted, std::memory_order_relaxed);
    }
    wake(ticket);
  }
}

}  // namespace smarm
