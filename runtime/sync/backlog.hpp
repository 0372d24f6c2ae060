// Mailboxes that grow: unbounded channels whose receiver is far behind.
//
// The fast paths know nothing of this. After every 512th message (far_ahead) a sender puts an
// obstacle in the way of the next message, and so that one comes by here, before it is queued: it
// tells how large messages are, is refused when the receiver's account has a limit that is reached,
// and gives a notice when the depth has passed a threshold. A channel is listed from the first such
// look until it is destroyed.
//
// Threads: any that may send. What is kept for a channel lies under a lock, one of sixteen by the
// channel's address, met once per 512 messages.
#pragma once

#include "runtime/sync/channel.hpp"

#include <smarm/smarm.h>

#include <cstddef>
#include <cstdint>

namespace smarm {

// When the depth of a mailbox is worth a notice: at a first threshold and at each doubling. Below a
// quarter of the last one it begins anew; what it has told before it then tells once a minute.
class Growth {
 public:
  static constexpr std::uint64_t kQuiet_ns = 60'000'000'000;

  // first: the threshold that holds now; 0: none.
  bool is_news(std::uint64_t depth, std::uint64_t first, std::uint64_t now_ns);

 private:
  std::uint64_t next_ = 0;  // the next threshold
  std::uint64_t peak_ = 0;  // the highest that was ever told
  std::uint64_t told_ns_ = 0;
};

// After a send that finds the receiver far behind.
void look_at_next_message(smarm_channel& c);
// A message that met an obstacle other than a receiver that is gone: may it be queued? SMARM_OK or
// SMARM_E_FULL.
int pass_backlog(smarm_channel& c, const Message& m);
// Signals of ends must always be delivered.
void exempt_from_limits(smarm_channel& c);
// A channel that is about to be destroyed.
void forget_backlog(smarm_channel& c);

// ---- behind smarm.h ----
void watch_mailboxes(smarm_mailbox_notice notice, void* arg);
void set_mailbox_warning(std::uint64_t first);
std::size_t list_mailboxes(smarm_mailbox_info* out, std::size_t capacity);

}  // namespace smarm
