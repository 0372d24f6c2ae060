// The untyped channel: many senders, one receiver.
//
// A linked list of messages with a sentinel in front (Vyukov's intrusive MPSC queue): a sender
// swaps itself in as the tail and then links its predecessor to it; the receiver follows the links.
// One locked instruction per send, none per receive.
//
// 1. head is the message whose payload was taken last (or the embedded sentinel): the receiver's
// alone. tail is the message that was sent last.
// 2. head == tail means empty. head != tail with head->next null means that a sender is between its
// two steps: the receiver waits for the link, a few instructions.
// 3. A message is freed by the receiver when a later one is taken, never while a sender may still
// link to it: a sender links to the tail it swapped out, and the receiver does
//    not pass a message before its link is there.
// 4. `sent` is raised before a message is visible and `received` after it was taken: the difference
// is the depth, or more while a send is under way.
// 5. No lost wake-up: the receiver stores its ticket in `waiter`, then looks at tail; a sender
// swaps tail, then looks at waiter; all four seq_cst, so one sees the other.
//    A ticket that stays behind wakes nobody: its wait number is used up.
// 6. Made by an actor of a runtime of one worker, a channel is that worker's alone until another
// thread touches it: send and recv then need no locked instruction. Every other operation follows
// the shared protocol, which is right in both cases.
// 7. `references` = live senders + receiver in the lower half, live senders in the upper. A sender
// that goes leaves the upper half first, wakes the receiver if it was the last, then the lower
// half: the reference keeps the channel while the receiver is told.
// 8. What is out of the ordinary for a send is one byte, `obstacles`: the fast paths test it for
// zero and leave the rest to the slow one.
#pragma once

#include <smarm/smarm.h>

#include "runtime/actor/actor.hpp"
#include "runtime/base/spinlock.hpp"
#include "runtime/sched/exclusive.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace smarm {

struct Message {
  std::atomic<Message*> next{nullptr};
  std::uint8_t cls = kEmbedded;  // block class of the whole, or one of the next two

  static constexpr std::uint8_t kEmbedded = 0xff;  // the channel's own sentinel
  static constexpr std::uint8_t kLarge = 0xfe;     // beyond the classes

  Message() = default;
  explicit Message(std::size_t c) : cls(static_cast<std::uint8_t>(c)) {}
  void* payload() { return this + 1; }
  static Message* of(void* payload) { return static_cast<Message*>(payload) - 1; }
};
static_assert(sizeof(Message) == 16);

// Waiting actors in order, through Actor::wait_prev and wait_next, under the owner structure's
// lock.
class WaitList {
 public:
  void append(Actor& a) {
    a.wait_prev = tail_;
    a.wait_next = nullptr;
    (tail_ ? tail_->wait_next : head_) = &a;
    tail_ = &a;
  }
  void remove(Actor& a) {
    (a.wait_prev ? a.wait_prev->wait_next : head_) = a.wait_next;
    (a.wait_next ? a.wait_next->wait_prev : tail_) = a.wait_prev;
    a.wait_prev = a.wait_next = nullptr;
  }
  Actor* front() const { return head_; }

 private:
  Actor* head_ = nullptr;
  Actor* tail_ = nullptr;
};

// The room of a bounded channel: who wants to send takes a place or queues for one.
struct Places {
  explicit Places(std::size_t n) : free(n) {}
  Spinlock lock;  // rank: channel places
  std::size_t free;
  WaitList senders;
};

}  // namespace smarm

// The fields lie by who writes them: what senders write and what the receiver writes are more than
// a cache line apart, wherever the block begins.
struct smarm_channel {
  smarm_channel(smarm::Exclusive* owner, smarm_drop how_to_drop, std::uint64_t makers_group)
      : ownership(owner),
        drop(how_to_drop),
        receiver(static_cast<std::uintptr_t>(makers_group << 1 | kOnlyGroup)) {}

  // obstacles
  static constexpr std::uint8_t kGone = 1;       // the receiver is
  static constexpr std::uint8_t kLook = 2;       // the receiver is far behind (backlog.hpp)
  static constexpr std::uint8_t kNearLimit = 4;  // its mailbox may be full
  // receiver
  static constexpr std::uintptr_t kOnlyGroup = 1;

  // The senders'.
  std::atomic<smarm::Message*> tail{&sentinel};
  std::atomic<std::uint64_t> sent{0};
  std::atomic<std::uint64_t> waiter{0};  // the receiver's packed ticket, or 0
  // Seldom written.
  smarm::Ownership ownership;
  smarm::Places* places = nullptr;  // bounded channels only; constant after construction
  std::atomic<std::uint8_t> obstacles{0};
  std::atomic<bool> listed{false};  // among those that are or were far behind
  std::atomic<bool> exempt{false};  // a mailbox of signals: never full
  std::atomic<std::uint64_t> references{(std::uint64_t{1} << 32) | 2};
  const smarm_drop drop;
  [[no_unique_address]] smarm::Message sentinel{};  // its tail has room for the next
  // The receiver's.
  bool plain = false;  // unbounded and known to be shared: nothing above need be looked at
  smarm::Message* head = &sentinel;
  std::atomic<std::uint64_t> received{0};
  // The actor that waited here last, else the first that took a message; before that the maker's
  // group, shifted, with kOnlyGroup. relaxed: told to people, and says whose limit holds.
  std::atomic<std::uintptr_t> receiver;

  void received_by(const smarm::Actor& a) {
    receiver.store(reinterpret_cast<std::uintptr_t>(&a), std::memory_order_relaxed);
  }
};
static_assert(offsetof(smarm_channel, head) - offsetof(smarm_channel, waiter) >= 64);
static_assert(sizeof(smarm_channel) == 104);  // a block class: a crowd has one each

namespace smarm {

void* alloc_message(std::size_t size);
void free_message(void* payload);

// kKilled as in park.hpp. select and send to a bounded channel may park: call them in a section.
// receive makes its own: an actor's call, outside of any.
int send_message(smarm_channel& c, void* payload);
int receive_message(smarm_channel& c, Actor& self, std::int64_t timeout_ns, void** payload);
int try_receive_message(smarm_channel& c, void** payload);
int select_channels(smarm_channel* const* channels, std::size_t n, std::int64_t timeout_ns);
void add_sender(smarm_channel& c);
void drop_sender(smarm_channel& c);
void drop_receiver(smarm_channel& c);
std::size_t channel_length(const smarm_channel& c);

// After a send: true about once for every kBacklog messages that the receiver is behind. A sender
// that goes on to the end of its timeslice makes a queue that no cache holds; if it gives way here,
// what the receiver takes is still warm.
inline constexpr std::uint64_t kBacklog = 512;
inline bool far_ahead(const smarm_channel& c) {
  const std::uint64_t sent = c.sent.load(std::memory_order_relaxed);
  return sent % kBacklog == 0 && sent - c.received.load(std::memory_order_relaxed) >= kBacklog;
}

}  // namespace smarm
