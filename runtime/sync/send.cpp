// Messages, and the sending of them.

#include "runtime/sync/backlog.hpp"
#include "runtime/sync/channel_queue.hpp"

#include <new>

namespace smarm {

namespace {

// Beyond the classes, not on a worker, or its cache has none.
[[gnu::noinline]] void* alloc_message_slowly(std::size_t size) {
  const std::size_t whole = sizeof(Message) + size;
  if (whole < size) return nullptr;
  const std::size_t cls = whole <= kLargestBlock ? block_class(whole) : Message::kLarge;
  void* memory =
      cls < kBlockClasses ? alloc_block_of(current_worker(), cls) : raw_block_alloc(whole);
  return memory ? (new (memory) Message(cls))->payload() : nullptr;
}

}  // namespace

void* alloc_message(std::size_t size) {
  if (sizeof(Message) + size <= kLargestBlock) [[likely]] {
    const std::size_t cls = block_class(sizeof(Message) + size);
    if (void* memory = take_block_of(current_worker(), cls)) [[likely]]
      return (new (memory) Message(cls))->payload();
  }
  return alloc_message_slowly(size);
}

void free_message(void* payload) { recycle(current_worker(), Message::of(payload)); }

namespace {

// The channel is another worker's alone, or bounded, or there is an obstacle.
[[gnu::noinline]] int send_slowly(smarm_channel& c, void* payload) {
  share(c);
  if (c.places) {
    if (int status = take_place(c)) return status;
  }
  if (const std::uint8_t obstacles = c.obstacles.load(std::memory_order_acquire)) {
    if (obstacles & smarm_channel::kGone) {
      if (c.places) give_place(*c.places);
      return SMARM_E_CLOSED;
    }
    if (int status = pass_backlog(c, *Message::of(payload))) return status;
  }
  push(c, Message::of(payload));
  wake_waiter(c);
  return SMARM_OK;
}

// By a thread that is no worker.
[[gnu::noinline]] int send_from_outside(smarm_channel& c, void* payload) {
  must_have_runtime();
  return send_slowly(c, payload);
}

inline void prefetch_to_wake(const Actor& a) {
  __builtin_prefetch(&a.word, 1);
  __builtin_prefetch(&a.runtime);
}

[[gnu::noinline]] int wake_receiver(smarm_channel& c, Worker* w, std::uint64_t waiter) {
  const Ticket ticket = Ticket::unpack(waiter);
  if (&w->runtime == ticket.actor().runtime.load(std::memory_order_relaxed)) [[likely]] {
    // Used up: out of the way of the senders to come. By exchange, for the receiver may be waiting
    // anew, with another number.
    if (!w->wake(ticket) && !ticket.valid_in(ticket.actor().word.load(std::memory_order_relaxed)))
      c.waiter.compare_exchange_strong(waiter, 0, std::memory_order_relaxed);
  } else {
    wake(ticket);
  }
  return SMARM_OK;
}

}  // namespace

int send_message(smarm_channel& c, void* payload) {
  Worker* w = current_worker();
  if (!w) [[unlikely]]
    return send_from_outside(c, payload);
  Exclusive* const mine = w->exclusive;
  if (!c.ownership.enter(mine, &c)) {
    if (!c.ownership.is_shared() || c.places || c.obstacles.load(std::memory_order_acquire))
        [[unlikely]]
      return send_slowly(c, payload);
    // The locked instructions of push() wait for their lines one by one: a sleeping receiver's is
    // fetched meanwhile.
    if (const std::uint64_t asleep = c.waiter.load(std::memory_order_relaxed))
      prefetch_to_wake(Ticket::unpack(asleep).actor());
    push(c, Message::of(payload));
    const std::uint64_t waiter = c.waiter.load(std::memory_order_seq_cst);
    return waiter ? wake_receiver(c, w, waiter) : SMARM_OK;
  }
  if (c.obstacles.load(std::memory_order_relaxed)) [[unlikely]] {
    Ownership::leave(mine);
    return send_slowly(c, payload);
  }
  Message* m = Message::of(payload);
  m->next.store(nullptr, std::memory_order_relaxed);
  c.sent.store(c.sent.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  Message* previous = c.tail.load(std::memory_order_relaxed);
  c.tail.store(m, std::memory_order_relaxed);
  previous->next.store(m, std::memory_order_relaxed);
  const std::uint64_t ticket = c.waiter.load(std::memory_order_relaxed);
  Ownership::leave(mine);
  // A receiver elsewhere would have shared the channel.
  if (ticket) w->wake_alone(Ticket::unpack(ticket));
  return SMARM_OK;
}

}  // namespace smarm
