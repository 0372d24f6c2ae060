// The life of a channel, select, and its length.

#include "runtime/sync/channel.hpp"

#include "runtime/sync/backlog.hpp"
#include "runtime/sync/channel_queue.hpp"

#include <utility>

namespace smarm {

namespace {

constexpr std::uint64_t kOneReference = 1;
constexpr std::uint64_t kOneSender = std::uint64_t{1} << 32;  // besides its reference

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
  if (c.listed.load(std::memory_order_relaxed)) [[unlikely]]
    forget_backlog(c);
  drain(c);
  recycle(current_worker(), c.head);
  delete c.places;
  c.~smarm_channel();
  free_block(&c, sizeof c);
}

}  // namespace

int select_channels(smarm_channel* const* channels, std::size_t n, std::int64_t timeout_ns) {
  Actor& self = *current_actor();
  for (std::size_t i = 0; i < n; ++i) {
    if (!channels[i]) continue;
    share(*channels[i]);
    channels[i]->received_by(self);
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
  c.obstacles.fetch_or(smarm_channel::kGone, std::memory_order_seq_cst);
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
