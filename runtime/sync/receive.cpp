// The receiving side of a channel.

#include "runtime/sync/channel_queue.hpp"

#include <immintrin.h>
#include <sched.h>

namespace smarm {

Message* linked_next(const Message* head) {
  for (int spins = 0;; ++spins) {
    if (Message* next = head->next.load(std::memory_order_acquire)) return next;
    if (spins < 128) {
      _mm_pause();
    } else {
      ::sched_yield();  // the sender's thread lost its CPU between two instructions
    }
  }
}

void note_first_receiver(const Worker* w, Message* embedded) {
  auto* c = reinterpret_cast<smarm_channel*>(reinterpret_cast<char*>(embedded) -
                                             offsetof(smarm_channel, sentinel));
  if (w && w->current) c->received_by(*w->current);
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

int try_receive_message(smarm_channel& c, void** payload) {
  Worker* w = current_worker();
  if (w && c.ownership.enter(w->exclusive, &c)) [[likely]] {
    if (Message* next = c.head->next.load(std::memory_order_relaxed))
      return take_alone(c, *w, next, payload);
    const bool open = has_senders(c);  // empty is exact here: no sender is half-way
    Ownership::leave(w->own_exclusive);
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
  c.received_by(self);
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
    Ownership::leave(w.own_exclusive);
    return receive_shared(c, self, -1, payload);
  }
  c.waiter.store(Ticket(self, word).pack(), std::memory_order_relaxed);
  c.received_by(self);
  Ownership::leave(w.own_exclusive);
  self.word.store(word + state_word::kActiveToWaiting, std::memory_order_relaxed);
  self.waits_for.store(WaitKind::recv, std::memory_order_relaxed);
  ++w.in_runtime;
  w.counters.parks.add();
  w.leave_alone(&self);
  Worker& here = *current_worker();  // another one, when w has blocked its thread meanwhile
  --here.in_runtime;
  c.waiter.store(0, std::memory_order_relaxed);
  if (kill_pending(self)) [[unlikely]]
    return kKilled;
  if (c.ownership.enter(here.exclusive, &c)) [[likely]] {
    if (Message* next = c.head->next.load(std::memory_order_relaxed)) [[likely]]
      return take_alone(c, here, next, payload);
    Ownership::leave(here.own_exclusive);
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
  c.received_by(self);
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
  Ownership::leave(w->own_exclusive);
  return receive_shared(c, self, timeout_ns, payload);
}

}  // namespace smarm
