// The inside of a channel: its linked queue, as the senders and the receiver use it. channel.hpp
// has the invariants.
#pragma once

#include "runtime/sched/blocks.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sync/channel.hpp"

#include <atomic>
#include <cstdint>
#include <utility>

namespace smarm {

// Room in a bounded channel.
void give_place(Places& places);
int take_place(smarm_channel& c);  // parks; kKilled, or SMARM_E_*
void refuse_waiting_senders(Places& places);

inline bool has_senders(const smarm_channel& c) {
  return c.references.load(std::memory_order_seq_cst) >> 32 != 0;
}

inline void push(smarm_channel& c, Message* m) {
  m->next.store(nullptr, std::memory_order_relaxed);  // relaxed: published by the link below
  c.sent.fetch_add(1, std::memory_order_relaxed);     // relaxed: ordered by the exchange
  Message* previous = c.tail.exchange(m, std::memory_order_seq_cst);
  previous->next.store(
      m, std::memory_order_release);  // pairs with the acquire in take: publishes the payload
}

// The channel's first message is taken, by the worker's current actor.
void note_first_receiver(const Worker* w, Message* embedded);

// Frees the queue's sentinel (the node in front of the list), whose successor has
// taken its place.
inline void recycle(Worker* w, Message* sentinel) {
  if (sentinel->cls < kBlockClasses) [[likely]] {
    free_block_of(w, sentinel, sentinel->cls);
  } else if (sentinel->cls == Message::kLarge) {
    raw_block_free(sentinel);
  } else {
    note_first_receiver(w, sentinel);
  }
}

// For an operation that follows the shared protocol.
inline void share(smarm_channel& c) {
  const Worker* w = current_worker();
  c.ownership.revoke_unless(w ? w->exclusive.get() : nullptr, &c);
}

inline void wake_waiter(smarm_channel& c) {
  const std::uint64_t ticket = c.waiter.load(std::memory_order_seq_cst);
  if (ticket) wake(Ticket::unpack(ticket));
}

// On the channel's own worker, inside: leaves with the message behind head. The old head is the
// sentinel, whose payload was taken before.
[[gnu::always_inline]] inline int take_alone(smarm_channel& c, Worker& w, Message* next,
                                             void** payload) {
  Message* sentinel = std::exchange(c.head, next);
  c.received.store(c.received.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  Ownership::leave(w.own_exclusive);
  *payload = next->payload();
  recycle(&w, sentinel);
  return SMARM_OK;
}

// The message behind head, once its sender has linked it.
Message* linked_next(const Message* head);

// The message behind head; nullptr when the channel is empty.
inline Message* front(const smarm_channel& c) {
  Message* next = c.head->next.load(std::memory_order_acquire);  // pairs with the release in push
  if (!next && c.tail.load(std::memory_order_seq_cst) != c.head) [[unlikely]]
    next = linked_next(c.head);
  return next;
}

// Takes it; w is the calling thread's.
[[gnu::always_inline]] inline void take(smarm_channel& c, Worker* w, Message* next,
                                        void** payload) {
  Message* sentinel = std::exchange(c.head, next);
  c.received.store(c.received.load(std::memory_order_relaxed) + 1,
                   std::memory_order_release);  // pairs with channel_length
  *payload = next->payload();
  // The one behind it may lie in another core's cache.
  if (const Message* behind = next->next.load(std::memory_order_relaxed))
    __builtin_prefetch(behind);
  if (!c.plain && c.places) [[unlikely]]
    give_place(*c.places);
  recycle(w, sentinel);
}

// SMARM_OK, SMARM_E_EMPTY or SMARM_E_CLOSED.
int try_take(smarm_channel& c, void** payload);

inline bool is_ready(smarm_channel& c) {
  return c.tail.load(std::memory_order_seq_cst) != c.head || !has_senders(c);
}

}  // namespace smarm
