#include "runtime/sync/backlog.hpp"

#include "runtime/base/block_cache.hpp"
#include "runtime/base/clock.hpp"
#include "runtime/sched/accounts.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/stack_room.hpp"
#include "runtime/sync/channel_queue.hpp"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <new>
#include <unordered_map>

namespace smarm {

namespace {

struct Party {
  smarm_pid pid{};
  std::uint64_t group = 0;
};

struct Backlog {
  std::uintptr_t known_as = 0;  // smarm_channel::receiver, as it was when `receiver` was read
  Party receiver, sender;
  std::size_t message_size = 0;
  Growth growth;
};

struct alignas(kCacheLine) Shard {
  std::mutex lock;  // rank: backlogs
  std::unordered_map<const smarm_channel*, Backlog> by_channel;
};

// Never destroyed: a channel may be, after the statics.
std::array<Shard, 16>& shards() {
  static auto* all = new std::array<Shard, 16>;
  return *all;
}
Shard& shard_of(const smarm_channel& c) {
  return shards()[reinterpret_cast<std::uintptr_t>(&c) / 64 % shards().size()];
}

constexpr std::uint64_t kFirstWarning = 65'536;
constexpr std::ptrdiff_t kNoticeRoom = 4096;              // on the sender's stack
std::atomic<std::uint64_t> first_warning{kFirstWarning};  // relaxed: a tunable

// Held while it is called, so that nobody is in it once it has been taken away.
std::mutex notice_lock;  // rank: notice
constinit smarm_mailbox_notice notice = nullptr;
constinit void* notice_arg = nullptr;

Party read_receiver(std::uintptr_t receiver) {
  if (receiver & smarm_channel::kOnlyGroup)
    return {.pid = {}, .group = receiver / (2 * smarm_channel::kOnlyGroup)};
  const Actor& a = *reinterpret_cast<const Actor*>(receiver);
  return {.pid = a.pid(), .group = a.group.load(std::memory_order_relaxed)};
}

Party sender_of_now() {
  const Actor* a = current_actor();
  return a ? Party{.pid = a->pid(), .group = a->group.load(std::memory_order_relaxed)} : Party{};
}

std::size_t size_of(const Message& m) {
  return m.cls < kBlockClasses ? block_class_size(m.cls)
                               : ::malloc_usable_size(const_cast<Message*>(&m));
}

void copy_name(smarm_pid pid, char (&out)[sizeof(smarm_actor_info::name)]) {
  Actor* a = ActorTable::instance().find(pid);
  if (!a) return;
  const std::lock_guard lock(extras_lock());
  const ActorExtras* extras = a->extras.load(std::memory_order_acquire);
  // The word after the extras: they are that life's.
  if (extras && state_word::alive(a->word.load(std::memory_order_acquire), pid.generation))
    extras->name.copy(out, sizeof out - 1);
}

smarm_mailbox_info describe(const Backlog& b, std::uint64_t depth) {
  smarm_mailbox_info info{};
  info.receiver = b.receiver.pid;
  info.group = b.receiver.group;
  info.account = account_number_of(b.receiver.group);
  info.depth = depth;
  info.bytes = depth * b.message_size;
  info.sender = b.sender.pid;
  info.sender_account = account_number_of(b.sender.group);
  return info;
}

// No other lock of these is held.
void tell(int what, smarm_mailbox_info info) {
  copy_name(info.receiver, info.receiver_name);
  copy_name(info.sender, info.sender_name);
  const std::lock_guard lock(notice_lock);
  if (notice) notice(notice_arg, what, &info);
}

// Looks a listed channel up, lists a new one. nullptr: no memory.
Backlog* update(Shard& shard, smarm_channel& c, const Message& m) {
  Backlog* b = nullptr;
  try {
    b = &shard.by_channel[&c];
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  c.listed.store(true, std::memory_order_relaxed);  // relaxed: read by who destroys the channel
  // Once for each receiver: later its block may be another actor's.
  const std::uintptr_t receiver = c.receiver.load(std::memory_order_relaxed);
  if (b->known_as != receiver) {
    b->known_as = receiver;
    b->receiver = read_receiver(receiver);
  }
  b->sender = sender_of_now();
  b->message_size = size_of(m);
  return b;
}

std::uint64_t limit_of(const smarm_channel& c, const Account& account) {
  // relaxed: a message or two later is early enough.
  if (c.exempt.load(std::memory_order_relaxed)) return 0;
  return account.mailbox_limit.load(std::memory_order_relaxed);
}

// Until the next look the depth could pass the limit.
bool is_near(std::uint64_t depth, std::uint64_t limit) { return depth + 2 * kBacklog > limit; }

void set_obstacle(smarm_channel& c, std::uint8_t which) {
  c.obstacles.fetch_or(which,
                       std::memory_order_relaxed);  // relaxed: seen by a message, or the next
}
void clear_obstacle(smarm_channel& c, std::uint8_t which) {
  c.obstacles.fetch_and(static_cast<std::uint8_t>(~which), std::memory_order_relaxed);
}

// The first of a minute, of all mailboxes of an account.
bool is_refusal_news(Account& account, std::uint64_t now) {
  std::uint64_t told = account.refusal_told_ns.load(std::memory_order_relaxed);
  return (told == 0 || now - told >= Growth::kQuiet_ns) &&
         account.refusal_told_ns.compare_exchange_strong(told, now, std::memory_order_relaxed);
}

}  // namespace

bool Growth::is_news(std::uint64_t depth, std::uint64_t first, std::uint64_t now_ns) {
  if (first == 0) return false;
  if (depth < next_ / 8) next_ = 0;  // a quarter of the last one
  next_ = std::max(next_, first);
  if (depth < next_) return false;
  while (next_ <= depth) next_ *= 2;
  if (next_ <= peak_ && now_ns - told_ns_ < kQuiet_ns) return false;
  peak_ = std::max(peak_, next_);
  told_ns_ = now_ns;
  return true;
}

void look_at_next_message(smarm_channel& c) {
  if (!c.places) set_obstacle(c, smarm_channel::kLook);
}

int pass_backlog(smarm_channel& c, const Message& m) {
  if (short_of_stack(kNoticeRoom)) return SMARM_OK;  // the next message will do
  const Section section(current_worker());
  clear_obstacle(c, smarm_channel::kLook);
  bool full = false, news = false;
  smarm_mailbox_info info{};
  {
    Shard& shard = shard_of(c);
    const std::lock_guard lock(shard.lock);
    Backlog* b = update(shard, c, m);
    if (!b) return SMARM_OK;
    const std::uint64_t depth = channel_length(c);
    Account& account = account_of(b->receiver.group);
    const std::uint64_t limit = limit_of(c, account);
    full = limit != 0 && depth >= limit;
    if (limit != 0 && is_near(depth, limit)) {
      set_obstacle(c, smarm_channel::kNearLimit);
    } else {
      clear_obstacle(c, smarm_channel::kNearLimit);
    }
    if (full) account.mailbox_refused.fetch_add(1, std::memory_order_relaxed);
    const std::uint64_t now = SystemClock::instance().now_ns();
    news = full ? is_refusal_news(account, now)
                : b->growth.is_news(depth, first_warning.load(std::memory_order_relaxed), now);
    if (news) info = describe(*b, depth);
  }
  if (news) tell(full ? SMARM_MAILBOX_FULL : SMARM_MAILBOX_GREW, info);
  return full ? SMARM_E_FULL : SMARM_OK;
}

void exempt_from_limits(smarm_channel& c) { c.exempt.store(true, std::memory_order_relaxed); }

void forget_backlog(smarm_channel& c) {
  Shard& shard = shard_of(c);
  const std::lock_guard lock(shard.lock);
  shard.by_channel.erase(&c);
}

void watch_mailboxes(smarm_mailbox_notice fn, void* arg) {
  const std::lock_guard lock(notice_lock);
  notice = fn;
  notice_arg = arg;
}

void set_mailbox_warning(std::uint64_t first) {
  first_warning.store(first, std::memory_order_relaxed);
}

std::size_t list_mailboxes(smarm_mailbox_info* out, std::size_t capacity) {
  std::size_t all = 0;
  for (Shard& shard : shards()) {
    const std::lock_guard lock(shard.lock);
    for (const auto& [c, backlog] : shard.by_channel) {
      if (all < capacity) out[all] = describe(backlog, channel_length(*c));
      ++all;
    }
  }
  for (std::size_t i = 0; i < std::min(all, capacity); ++i) {
    copy_name(out[i].receiver, out[i].receiver_name);
    copy_name(out[i].sender, out[i].sender_name);
  }
  return all;
}

}  // namespace smarm
