#include "runtime/supervision/registry.hpp"

#include "runtime/actor/exit_record.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/sched/actor_main.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/timers.hpp"
#include "runtime/sync/backlog.hpp"
#include "runtime/sync/channel.hpp"

#include <smarm/exit.hpp>

#include <mutex>
#include <new>
#include <unordered_map>
#include <utility>

namespace smarm {

namespace {

std::uint64_t key(smarm_pid pid) { return std::uint64_t{pid.generation} << 32 | pid.index; }
smarm_pid pid_of_key(std::uint64_t k) {
  return {static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k >> 32)};
}

// One lock for all mailboxes: it is taken when a supervised actor ends, not on any path of one that
// lives.
struct Mailboxes {
  std::mutex mutex;  // rank: mailboxes, before channels
  std::unordered_map<std::uint64_t, smarm_channel*> by_pid;
};
Mailboxes& mailboxes() {
  static Mailboxes* all = new Mailboxes;
  return *all;
}

void deliver(smarm_channel& mailbox, Signal&& signal) {
  void* payload = alloc_message(sizeof(Signal));
  if (!payload) return;  // out of memory: the exit record is lost, the process will be too
  auto* placed = new (payload) Signal(std::move(signal));
  if (send_message(mailbox, payload) != SMARM_OK) {  // nobody receives any more
    std::destroy_at(placed);
    free_message(payload);
  }
}

bool has_mailbox(const Actor* a, smarm_pid pid) {
  if (!a) return false;
  const std::uint64_t word = a->word.load(std::memory_order_acquire);
  return state_word::alive(word, pid.generation) && (word & state_word::kMailbox);
}

void send_to_supervisor(smarm_pid supervisor, Signal&& signal) {
  if (supervisor.generation == 0) return;  // ROOT_PID drops signals
  if (!has_mailbox(ActorTable::instance().find(supervisor.index), supervisor)) return;
  Mailboxes& all = mailboxes();
  std::lock_guard lock(all.mutex);  // an unbounded channel: nobody parks under it
  auto found = all.by_pid.find(key(supervisor));
  if (found != all.by_pid.end()) deliver(*found->second, std::move(signal));
}

Signal signal_of(smarm_pid raw, const smarm_exit* exit) {
  const Pid pid(raw);
  if (!exit) return Exit{pid};
  Panic panic{pid, exit->message, exit->type, {}};
  panic.backtrace.assign(exit->frames, exit->frames + exit->frame_count);
  return panic;
}

void unregister(smarm_pid pid) {
  Mailboxes& all = mailboxes();
  smarm_channel* mailbox = nullptr;
  {
    std::lock_guard lock(all.mutex);
    auto found = all.by_pid.find(key(pid));
    if (found == all.by_pid.end()) return;
    mailbox = found->second;
    all.by_pid.erase(found);
  }
  drop_sender(*mailbox);
}

[[gnu::noinline]] void release_extras(ActorExtras& extras) {
  if (extras.deadline) cancel_timer(std::exchange(extras.deadline, nullptr));
  std::lock_guard lock(extras_lock());
  for (smarm_channel* c : extras.stop_channels) drop_sender(*c);
  extras.stop_channels.clear();
}

[[gnu::noinline]] void tell_supervisor(const Actor& a, const smarm_exit* exit) {
  send_to_supervisor(a.supervisor.load(std::memory_order_relaxed), signal_of(a.pid(), exit));
}

void on_ending(Actor& a, const smarm_exit* exit) {
  if (ActorExtras* extras = a.extras.load(std::memory_order_acquire)) [[unlikely]]
    release_extras(*extras);
  const smarm_pid supervisor = a.supervisor.load(std::memory_order_relaxed);
  if (supervisor.generation != 0 &&
      has_mailbox(ActorTable::instance().find(supervisor.index), supervisor)) [[unlikely]]
    tell_supervisor(a, exit);
}

void deadline_passed(void* arg) {
  const smarm_pid pid = pid_of_key(reinterpret_cast<std::uint64_t>(arg));
  Actor* a = ActorTable::instance().find(pid);
  if (!a) return;
  const smarm_pid supervisor = a->supervisor.load(std::memory_order_acquire);
  if (!state_word::alive(a->word.load(std::memory_order_acquire), pid.generation)) return;
  send_to_supervisor(supervisor, Timeout{Pid(pid)});
  kill_pid(pid);
}

// The mark and the actor's end meet in one word: either the end sees that there is something to
// take away, or the mark is refused and it is taken away here.
void mark_mailbox(Worker&, Actor& a, std::uint32_t generation) {
  std::uint64_t word = a.word.load(std::memory_order_acquire);
  do {
    if (!state_word::alive(word, generation)) return unregister({a.index, generation});
  } while (
      !a.word.compare_exchange_weak(word, word | state_word::kMailbox, std::memory_order_acq_rel));
}

void send_stop(smarm_channel& c) {
  void* payload = alloc_message(1);
  if (payload && send_message(c, payload) != SMARM_OK) free_message(payload);
  drop_sender(c);
}

void stop_local(Worker&, Actor& a, std::uint32_t generation) {
  std::uint64_t word = a.word.load(std::memory_order_acquire);
  do {
    if (!state_word::alive(word, generation)) return;
  } while (
      !a.word.compare_exchange_weak(word, word | state_word::kStop, std::memory_order_acq_rel));
  std::lock_guard lock(extras_lock());  // an ending actor takes its extras off under it
  ActorExtras* extras = a.extras.load(std::memory_order_acquire);
  // The word after the extras: these are the extras of that life, and stay while the lock is held.
  if (!extras || !state_word::alive(a.word.load(std::memory_order_acquire), generation)) return;
  for (smarm_channel* c : extras->stop_channels) send_stop(*c);
  extras->stop_channels.clear();
}

}  // namespace

void install_supervision_hook() { set_exit_hooks({on_ending, unregister}); }

int register_supervisor(smarm_pid pid, smarm_channel* mailbox) {
  Actor* a = ActorTable::instance().find(pid);
  if (!a || pid.generation == 0) return SMARM_E_STALE;
  if (!mailbox) return unregister(pid), SMARM_OK;
  if (mailbox->places) {
    set_last_error("the mailbox must be an unbounded channel: signals never wait for room");
    return SMARM_E_LIMIT;
  }
  exempt_from_limits(*mailbox);
  add_sender(*mailbox);
  smarm_channel* old = nullptr;
  {
    std::lock_guard lock(mailboxes().mutex);
    old = std::exchange(mailboxes().by_pid[key(pid)], mailbox);
  }
  if (old) drop_sender(*old);
  if (call_on_runtime({pid, mark_mailbox})) return SMARM_OK;
  unregister(pid);
  return SMARM_E_STALE;
}

int arm_deadline(Actor& a, std::int64_t after_ns) {
  ActorExtras* extras = extras_of(a);
  if (!extras) return SMARM_E_LIMIT;
  extras->deadline = start_timer(*current_worker(), after_ns, deadline_passed,
                                 reinterpret_cast<void*>(key(a.pid())));
  return extras->deadline ? SMARM_OK : SMARM_E_LIMIT;
}

int stop_pid(smarm_pid pid) {
  return call_on_runtime({pid, stop_local}) ? SMARM_OK : SMARM_E_STALE;
}

smarm_channel* make_stop_channel(Actor& self) {
  smarm_channel* c = smarm_channel_create(0, nullptr);
  if (!c) return nullptr;
  ActorExtras* extras = extras_of(self);
  std::lock_guard lock(extras_lock());
  if (extras && !(self.word.load(std::memory_order_acquire) & state_word::kStop)) {
    extras->stop_channels.push_back(c);
  } else {
    send_stop(*c);
  }
  return c;
}

}  // namespace smarm
