#include "runtime/sync/channel.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/sched/blocks.hpp"
#include "runtime/sched/park.hpp"

#include <immintrin.h>
#include <sched.h>

#include <mutex>
#include <new>
#include <utility>

namespace smarm {

namespace {

constexpr std::uint64_t kOneReference = 1;
constexpr std::uint64_t kOneSender = std::uint64_t{1} << 32;  // besides its reference
constexpr std::uint64_t kPlaceGranted =
    ~std::uint64_t{0};  // in Actor::wait_value of a queued sender

bool has_senders(const smarm_channel& c) {
  return c.references.load(std::memory_order_seq_cst) >> 32 != 0;
}

void push(smarm_channel& c, Message* m) {
  m->next.store(nullptr, std::memory_order_relaxed);  // relaxed: published by the link below
  c.sent.fetch_add(1, std::memory_order_relaxed);     // relaxed: ordered by the exchange
  Message* previous = c.tail.exchange(m, std::memory_order_seq_cst);
  previous->next.store(
      m, std::memory_order_release);  // pairs with the acquire in take: publishes the payload
}

// Frees the queue's stub (Vyukov's word for the node in front of the list), whose successor has
// taken its place.
inline void recycle(Worker* w, Message* stub) {
  if (stub->cls < kBlockClasses) [[likely]] {
    free_block_of(w, stub, stub->cls);
  } else if (stub->cls == Message::kLarge) {
    raw_block_free(stub);
  }
}

// On the channel's own worker, inside: leaves with the message behind head. The old head is the
// stub, whose payload was taken before.
[[gnu::always_inline]] inline int take_alone(smarm_channel& c, Worker& w, Message* next,
                                             void** payload) {
  Message* stub = std::exchange(c.head, next);
  c.received.store(c.received.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  Ownership::leave(w.exclusive);
  *payload = next->payload();
  recycle(&w, stub);
  return SMARM_OK;
}

// For an operation that follows the shared protocol.
void share(smarm_channel& c) {
  const Worker* w = current_worker();
  c.ownership.revoke_unless(w ? w->exclusive : nullptr, &c);
}

// The message behind head, once its sender has linked it.
Message* linked_next(Message* head) {
  for (int spins = 0;; ++spins) {
    if (Message* next = head->next.load(std::memory_order_acquire)) return next;
    if (spins < 128) {
      _mm_pause();
    } else {
      ::sched_yield();  // the sender's thread lost its CPU between two instructions
    }
  }
}

void wake_waiter(smarm_channel& c) {
  const std::uint64_t ticket = c.waiter.load(std::memory_order_seq_cst);
  if (ticket) wake(Ticket::unpack(ticket));
}

// ---- places of bounded channels ----

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
    ticket = Ticket::unpack(first->wait_value);
    first->wait_value = kPlaceGranted;
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
      if (queued && self->wait_value == kPlaceGranted) return SMARM_OK;
      if (c.receiver_gone.load(std::memory_order_acquire)) {
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
      self->wait_value = ticket.pack();
      if (!queued) places.senders.append(*self);
      queued = true;
    }
    if (wait(*self, ticket, WaitKind::send, kNever) == Woken::killed) {
      bool granted;
      {
        std::lock_guard guard(places.lock);
        granted = self->wait_value == kPlaceGranted;
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
      ticket = Ticket::unpack(first->wait_value);
      first->wait_value = kPlaceGranted;
    }
    wake(ticket);
  }
}

// ---- the receiver's side ----

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
  Message* stub = std::exchange(c.head, next);
  c.received.store(c.received.load(std::memory_order_relaxed) + 1,
                   std::memory_order_release);  // pairs with channel_length
  *payload = next->payload();
  // The one behind it may lie in another core's cache.
  __builtin_prefetch(next->next.load(std::memory_order_relaxed));
  if (!c.plain && c.places) [[unlikely]]
    give_place(*c.places);
  recycle(w, stub);
}

int try_take(smarm_channel& c, void** payload) {
  Message* next = front(c);
  if (!next) {
    if (has_senders(c)) return SMARM_E_EMPTY;
    next = front(c);  // the last sender may have sent before it went
    if (!next) return SMARM_E_CLOSED;
  }
  take(c, current_worker(), next, payload);
  return SMARM_OK;
}

bool is_ready(smarm_channel& c) {
  return c.tail.load(std::memory_order_seq_cst) != c.head || !has_senders(c);
}

void drain(smarm_channel& c) {
  void* payload;
  while (Message* next = front(c)) {
    take(c, current_worker(), next, &payload);
    if (!c.drop) continue;
    OutsideSection user_code;
    c.drop(payload);
  }
}

void drop_reference(smarm_channel& c) {
  // acq_rel: the last one frees after all others are done.
  const std::uint64_t before = c.references.fetch_sub(kOneReference, std::memory_order_acq_rel);
  if ((before & 0xffffffffu) != 1) return;
  drain(c);
  recycle(current_worker(), c.head);
  delete c.places;
  c.~smarm_channel();
  free_block(&c, sizeof c);
}

}  // namespace

void* alloc_message(std::size_t size) {
  const std::size_t whole = sizeof(Message) + size;
  Message* m;
  if (whole <= kLargestBlock) [[likely]] {
    const std::size_t cls = block_class(whole);
    void* memory = alloc_block_of(current_worker(), cls);
    if (!memory) return nullptr;
    m = new (memory) Message;
    m->cls = static_cast<std::uint8_t>(cls);
  } else {
    void* memory = whole < size ? nullptr : raw_block_alloc(whole);
    if (!memory) return nullptr;
    m = new (memory) Message;
    m->cls = Message::kLarge;
  }
  return m->payload();
}

void free_message(void* payload) { recycle(current_worker(), Message::of(payload)); }

namespace {

// The channel is another worker's alone, bounded, or without a receiver.
[[gnu::noinline]] int send_slowly(smarm_channel& c, void* payload) {
  share(c);
  if (c.places) {
    if (int status = take_place(c)) return status;
  }
  if (c.receiver_gone.load(std::memory_order_acquire)) {
    if (c.places) give_place(*c.places);
    return SMARM_E_CLOSED;
  }
  push(c, Message::of(payload));
  wake_waiter(c);
  return SMARM_OK;
}

[[gnu::noinline]] int wake_receiver(smarm_channel& c, Worker* w, std::uint64_t waiter) {
  const Ticket ticket = Ticket::unpack(waiter);
  if (w && &w->runtime == ticket.actor().runtime.load(std::memory_order_relaxed)) [[likely]] {
    // Used up already: out of the way of the senders to come. By exchange, for the receiver may be
    // waiting anew.
    if (!w->wake(ticket)) c.waiter.compare_exchange_strong(waiter, 0, std::memory_order_relaxed);
  } else {
    wake(ticket);
  }
  return SMARM_OK;
}

}  // namespace

int send_message(smarm_channel& c, void* payload) {
  Worker* w = current_worker();
  Exclusive* const mine = w ? w->exclusive : nullptr;
  if (!c.ownership.enter(mine, &c)) {
    if (!c.ownership.is_shared() || c.places || c.receiver_gone.load(std::memory_order_acquire))
        [[unlikely]]
      return send_slowly(c, payload);
    push(c, Message::of(payload));
    const std::uint64_t waiter = c.waiter.load(std::memory_order_seq_cst);
    return waiter ? wake_receiver(c, w, waiter) : SMARM_OK;
  }
  if (c.receiver_gone.load(std::memory_order_relaxed)) [[unlikely]] {
    Ownership::leave(mine);
    return SMARM_E_CLOSED;
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

int try_receive_message(smarm_channel& c, void** payload) {
  Worker* w = current_worker();
  if (w && c.ownership.enter(w->exclusive, &c)) [[likely]] {
    if (Message* next = c.head->next.load(std::memory_order_relaxed))
      return take_alone(c, *w, next, payload);
    const bool open = has_senders(c);  // empty is exact here: no sender is half-way
    Ownership::leave(w->exclusive);
    return open ? SMARM_E_EMPTY : SMARM_E_CLOSED;
  }
  share(c);
  return try_take(c, payload);
}

namespace {

// relaxed stores of 0 to `waiter`: who reads the old ticket finds it used up, or leaves a mark that
// begin_wait clears.
[[gnu::noinline]] int receive_shared(smarm_channel& c, Actor& self, std::int64_t timeout_ns,
                                     void** payload) {
  share(c);
  int status = try_take(c, payload);
  if (status != SMARM_E_EMPTY) return status;
  if (self.dying) return SMARM_E_CLOSED;
  ++current_worker()->in_runtime;
  const std::uint64_t deadline =
      timeout_ns < 0 ? kNever
                     : deadline_after(current_worker()->runtime.clock().now_ns(), timeout_ns);
  do {
    const Ticket ticket = begin_wait(self);
    c.waiter.exchange(ticket.pack(), std::memory_order_seq_cst);
    Woken woken = Woken::by_ticket;
    if (!is_ready(c)) woken = wait(self, ticket, WaitKind::recv, deadline);
    c.waiter.store(0, std::memory_order_relaxed);
    status = woken == Woken::killed ? kKilled : try_take(c, payload);
    if (status == SMARM_E_EMPTY && woken == Woken::by_time) status = SMARM_E_TIMEOUT;
  } while (status == SMARM_E_EMPTY);
  --current_worker()->in_runtime;
  return status;
}

// The worker has the channel to itself, the caller is inside, and the channel is empty: no sender
// is half-way. What is out of the ordinary (the channel is closed or was taken away meanwhile,
// somebody else has ended the wait, the actor is asked to unwind) follows the shared protocol.
[[gnu::noinline]] int wait_alone(smarm_channel& c, Actor& self, Worker& w, void** payload) {
  // Nobody else writes this word: the wait begins and is published at once.
  const std::uint64_t word = self.word.load(std::memory_order_relaxed);
  if ((word & (state_word::kWoken | state_word::kKill)) || !has_senders(c)) [[unlikely]] {
    Ownership::leave(w.exclusive);
    return receive_shared(c, self, -1, payload);
  }
  c.waiter.store(Ticket(self, word).pack(), std::memory_order_relaxed);
  Ownership::leave(w.exclusive);
  self.word.store(word + state_word::kActiveToWaiting, std::memory_order_relaxed);
  self.waits_for.store(WaitKind::recv, std::memory_order_relaxed);
  ++w.in_runtime;
  w.counters.parks.add();
  w.leave_alone(&self);
  --w.in_runtime;
  c.waiter.store(0, std::memory_order_relaxed);
  if (kill_pending(self)) [[unlikely]]
    return kKilled;
  if (c.ownership.enter(w.exclusive, &c)) [[likely]] {
    if (Message* next = c.head->next.load(std::memory_order_relaxed)) [[likely]]
      return take_alone(c, w, next, payload);
    Ownership::leave(w.exclusive);
  }
  return receive_shared(c, self, -1, payload);
}

// The same for a shared channel, and for receive_shared's first round when nothing is out of the
// ordinary.
[[gnu::noinline]] int wait_shared(smarm_channel& c, Actor& self, Worker& w, void** payload) {
  const std::uint64_t word = self.word.load(std::memory_order_relaxed);
  if ((word & (state_word::kWoken | state_word::kKill)) || self.dying) [[unlikely]]
    return receive_shared(c, self, -1, payload);
  c.waiter.exchange(Ticket(self, word).pack(), std::memory_order_seq_cst);
  if (!is_ready(c)) [[likely]] {
    self.waits_for.store(WaitKind::recv, std::memory_order_relaxed);
    ++w.in_runtime;
    w.counters.parks.add();
    w.leave<Worker::After::publish_wait>();
    --current_worker()->in_runtime;
  }
  c.waiter.store(0, std::memory_order_relaxed);
  if (kill_pending(self)) [[unlikely]]
    return kKilled;
  if (Message* next = c.head->next.load(std::memory_order_acquire)) [[likely]] {
    take(c, current_worker(), next, payload);
    return SMARM_OK;
  }
  return receive_shared(c, self, -1, payload);
}

}  // namespace

int receive_message(smarm_channel& c, Actor& self, std::int64_t timeout_ns, void** payload) {
  Worker* w = current_worker();
  if (c.plain || !c.ownership.enter(w->exclusive, &c)) {
    if (!c.plain) c.plain = !c.places && c.ownership.is_shared();
    if (c.plain) [[likely]] {
      if (Message* next = c.head->next.load(std::memory_order_acquire)) {
        take(c, w, next, payload);
        return SMARM_OK;
      }
      if (timeout_ns < 0) return wait_shared(c, self, *w, payload);
    }
    return receive_shared(c, self, timeout_ns, payload);
  }
  if (Message* next = c.head->next.load(std::memory_order_relaxed))
    return take_alone(c, *w, next, payload);
  if (timeout_ns < 0) return wait_alone(c, self, *w, payload);
  Ownership::leave(w->exclusive);
  return receive_shared(c, self, timeout_ns, payload);
}

int select_channels(smarm_channel* const* channels, std::size_t n, std::int64_t timeout_ns) {
  Actor& self = *current_actor();
  for (std::size_t i = 0; i < n; ++i) {
    if (channels[i]) share(*channels[i]);
  }
  const std::uint64_t deadline =
      timeout_ns < 0 ? kNever
                     : deadline_after(current_worker()->runtime.clock().now_ns(), timeout_ns);
  auto first_ready = [&]() -> int {
    for (std::size_t i = 0; i < n; ++i) {
      if (!channels[i] || is_ready(*channels[i])) return static_cast<int>(i);
    }
    return -1;
  };
  auto listen = [&](std::uint64_t value) {
    for (std::size_t i = 0; i < n; ++i) {
      if (channels[i]) channels[i]->waiter.exchange(value, std::memory_order_seq_cst);
    }
  };
  for (;;) {
    int ready = first_ready();
    if (ready >= 0) return ready;
    if (self.dying) return SMARM_E_TIMEOUT;
    const Ticket ticket = begin_wait(self);
    listen(ticket.pack());
    ready = first_ready();
    const Woken woken =
        ready >= 0 ? Woken::by_ticket : wait(self, ticket, WaitKind::select, deadline);
    listen(0);
    if (woken == Woken::killed) return kKilled;
    if (woken == Woken::by_time) {
      ready = first_ready();
      return ready >= 0 ? ready : SMARM_E_TIMEOUT;
    }
  }
}

void add_sender(smarm_channel& c) {
  c.references.fetch_add(kOneSender + kOneReference, std::memory_order_relaxed);
}  // relaxed: the caller holds one
void drop_sender(smarm_channel& c) {
  share(c);
  if (c.references.fetch_sub(kOneSender, std::memory_order_seq_cst) >> 32 == 1) wake_waiter(c);
  drop_reference(c);
}

void drop_receiver(smarm_channel& c) {
  share(c);
  c.receiver_gone.store(true, std::memory_order_seq_cst);
  if (c.places) refuse_waiting_senders(*c.places);
  drain(c);
  drop_reference(c);
}

std::size_t channel_length(const smarm_channel& c) {
  // Exact when nothing was received meanwhile; else, after a few tries, rather too few than more
  // than a bounded channel holds.
  std::uint64_t sent = 0, received = c.received.load(std::memory_order_acquire);
  for (int tries = 0; tries < 4; ++tries) {
    sent = c.sent.load(std::memory_order_acquire);
    const std::uint64_t before =
        std::exchange(received, c.received.load(std::memory_order_acquire));
    if (received == before) return sent - received;
  }
  return sent > received ? sent - received : 0;
}

}  // namespace smarm
