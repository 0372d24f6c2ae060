#include "runtime/supervision/registry.hpp"

#include "runtime/actor/exit_record.hpp"
#include "runtime/sched/actor_main.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/timers.hpp"
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
std::mutex
    stop_mutex;  // rank: stop. Guards ActorExtras::stop_channels against stop() from another worker

void deliver(smarm_channel& mailbox, Signal&& signal) {
  void* payload = alloc_message(sizeof(Signal));
  if (!payload) return;  // out of memory: the exit record is lost, the process will be too
  auto* placed = new (payload) Signal(std::move(signal));
  if (send_message(mailbox, payload) != SMARM_OK) {  // nobody receives any more
    std::destroy_at(placed);
    free_message(payload);
  }
}

void send_to_supervisor(smarm_pid supervisor, Signal&& signal) {
  if (supervisor.generation == 0) return;  // ROOT_PID drops signals
  Actor* a = ActorTable::instance().find(supervisor);
  if (!a || !a->has_mailbox.load(std::memory_order_acquire)) return;
  Mailboxes& all = mailboxes();
  std::lock_guard lock(all.mutex);
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

void unregister(Actor& a) {
  Mailboxes& all = mailboxes();
  smarm_channel* mailbox = nullptr;
  {
    std::lock_guard lock(all.mutex);
    auto found = all.by_pid.find(key(a.pid()));
    if (found == all.by_pid.end()) return;
    mailbox = found->second;
    all.by_pid.erase(found);
  }
  drop_sender(*mailbox);
}

void on_exit(Actor& a, const smarm_exit* exit, Worker&) {
  if (ActorExtras* extras = a.extras.load(std::memory_order_acquire)) {
    if (extras->deadline) cancel_timer(std::exchange(extras->deadline, nullptr));
    std::lock_guard lock(stop_mutex);
    for (smarm_channel* c : extras->stop_channels) drop_sender(*c);
    extras->stop_channels.clear();
  }
  if (a.supervisor.generation != 0) {
    Actor* supervisor = ActorTable::instance().find(a.supervisor);
    if (supervisor && supervisor->has_mailbox.load(std::memory_order_acquire))
      send_to_supervisor(a.supervisor, signal_of(a.pid(), exit));
  }
  if (a.has_mailbox.load(std::memory_order_relaxed)) unregister(a);
}

void deadline_passed(void* arg) {
  const smarm_pid pid = pid_of_key(reinterpret_cast<std::uint64_t>(arg));
  Actor* a = ActorTable::instance().find(pid);
  if (!a) return;
  send_to_supervisor(a->supervisor, Timeout{Pid(pid)});
  kill_pid(pid);
}

void send_stop(smarm_channel& c) {
  void* payload = alloc_message(1);
  if (payload && send_message(c, payload) != SMARM_OK) free_message(payload);
  drop_sender(c);
}

void stop_local(Worker&, Actor& a, std::uint32_t generation) {
  const std::uint64_t word = a.word.load(std::memory_order_acquire);
  if (state_word::generation(word) != generation || state_word::state(word) == ActorState::done)
    return;
  std::lock_guard lock(stop_mutex);
  a.stop_requested.store(true, std::memory_order_release);
  ActorExtras* extras = a.extras.load(std::memory_order_acquire);
  if (!extras) return;
  for (smarm_channel* c : extras->stop_channels) send_stop(*c);
  extras->stop_channels.clear();
}

}  // namespace

void install_supervision_hook() { add_exit_hook(on_exit); }

int register_supervisor(smarm_pid pid, smarm_channel& mailbox) {
  Actor* a = ActorTable::instance().find(pid);
  if (!a) return SMARM_E_STALE;
  add_sender(mailbox);
  smarm_channel* old = nullptr;
  {
    std::lock_guard lock(mailboxes().mutex);
    smarm_channel*& place = mailboxes().by_pid[key(pid)];
    old = std::exchange(place, &mailbox);
    a->has_mailbox.store(true, std::memory_order_release);
  }
  if (old) drop_sender(*old);
  return SMARM_OK;
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
  std::lock_guard lock(stop_mutex);
  if (extras && !self.stop_requested.load(std::memory_order_acquire)) {
    extras->stop_channels.push_back(c);
  } else {
    send_stop(*c);
  }
  return c;
}

}  // namespace smarm
