#include "runtime/sched/runtime_core.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/futex.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/sched/actor_main.hpp"
#include "runtime/sched/park.hpp"

#include <immintrin.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace smarm {

namespace {
constexpr int kSearchRounds =
    200;  // a few microseconds of looking before a sleep that costs 20 us to end
constexpr std::uint64_t kWatchInterval =
    5'000'000;  // how long an actor may sit behind another that does not yield, while some worker
                // is idle
constexpr std::uint32_t kQuietNaps = 8;  // each twice as long as the one before: 1.3 s in all
constexpr std::size_t kInjectBatch = 32;
}  // namespace

RuntimeCore::RuntimeCore(const smarm_config& config, std::unique_ptr<Poller> poller, Clock& clock)
    : alloc_interval(config.alloc_interval),
      timeslice_cycles(config.timeslice_cycles),
      config_(config),
      gate_(ForeignGate::open(*this)),
      number_(gate_.number.load(std::memory_order_relaxed)),
      solo_(config.workers == 1),
      clock_(clock),
      poller_(std::move(poller)),
      hibernation_(*this, config.hibernate_after_ns),
      inject_(!solo_) {
  for (std::uint32_t i = 0; i < config.workers; ++i)
    workers_.push_back(std::make_unique<Worker>(*this, i));
  idle_.reserve(config.workers);
}

RuntimeCore::~RuntimeCore() { gate_.close(); }

std::size_t RuntimeCore::live() const {
  std::uint64_t spawned = 0, exited = 0;
  for (const auto& w : workers_) exited += w->counters.exited.get();
  for (const auto& w : workers_) spawned += w->counters.spawned.get();
  return spawned > exited ? spawned - exited : 0;
}

int RuntimeCore::run(smarm_entry entry, void* closure, smarm_exit** exit) {
  Phase expected = Phase::ready;
  if (!phase_.compare_exchange_strong(expected, Phase::running, std::memory_order_acq_rel)) {
    set_last_error("this runtime is running already");
    return SMARM_E_LIMIT;
  }
  Worker& first = *workers_[0];
  searching_.store(0, std::memory_order_relaxed);
  // They wait until the first actor is queued, or until it is clear that there will be none.
  enum : std::uint32_t { kWait, kGo, kGiveUp };
  std::atomic<std::uint32_t> gun{kWait};
  std::vector<std::thread> threads;
  const auto start = [&](std::uint32_t how) {
    gun.store(how, std::memory_order_release);
    gun.notify_all();
    if (how == kGo) first.run();
    for (std::thread& t : threads) t.join();
  };
  Actor* root = nullptr;
  try {
    for (std::size_t i = 1; i < workers_.size(); ++i) {
      threads.emplace_back([&gun, w = workers_[i].get()] {
        gun.wait(kWait, std::memory_order_acquire);
        if (gun.load(std::memory_order_acquire) == kGo) w->run();
      });
    }
    // The first actor is made on this thread before it is a worker: nobody else looks at the
    // queues.
    smarm_tls_worker = &first;
    root = spawn_on(first, {entry, closure, {}, 0, stack_class_of(config_.stack_size)});
    smarm_tls_worker = nullptr;
  } catch (const std::system_error& e) {
    set_last_error("cannot start worker thread %zu of %zu: %s; ask for fewer", threads.size() + 2,
                   workers_.size(), e.what());
  }
  start(root ? kGo : kGiveUp);
  if (!root) {
    phase_.store(Phase::ready, std::memory_order_release);
    return SMARM_E_LIMIT;
  }
  gate_.wait_empty();
  run_commands(first);  // what came for actors that have ended: frees itself
  *exit = std::exchange(root->exit, nullptr);
  detach_actor(*root);
  phase_.store(Phase::ready, std::memory_order_release);
  return SMARM_OK;
}

void RuntimeCore::post(Command* command) {
  Command* head = commands_.load(std::memory_order_relaxed);
  do {
    command->next = head;
  } while (!commands_.compare_exchange_weak(head, command, std::memory_order_seq_cst));
  if (idle_count_.load(std::memory_order_seq_cst) > 0)
    wake_one();  // second half of the idle protocol
}

void RuntimeCore::release() {
  // The last one out may leave the runtime quiescent: somebody has to look.
  const ForeignCall here(gate_);
  holds_.fetch_sub(1, std::memory_order_seq_cst);
  if (idle_count_.load(std::memory_order_seq_cst) > 0) wake_one();
}

void RuntimeCore::run_commands(Worker& w) {
  if (!commands_.load(std::memory_order_relaxed))
    return;  // relaxed: a hint, except before sleeping, where work_elsewhere() looks again
  Command* list = commands_.exchange(nullptr, std::memory_order_acquire);
  Command* in_order = nullptr;
  while (list) {
    Command* c = list;
    list = c->next;
    c->next = in_order;
    in_order = c;
  }
  while (in_order) {
    Command* c = in_order;
    in_order = c->next;
    c->run(c, w);
  }
}

bool RuntimeCore::take_injected(Worker& w) {
  // A share of what is there, so that one worker does not come back for each.
  const std::size_t share_of_all = std::min(kInjectBatch, inject_.size() / workers_.size() + 1);
  std::size_t taken = 0;
  for (; taken < share_of_all; ++taken) {
    Actor* a = inject_.pop();
    if (!a) break;
    w.ready.push(a);
  }
  return taken > 0;
}

bool RuntimeCore::try_poll(Worker& w) {
  if (poller_taken_.exchange(true, std::memory_order_acquire)) return false;
  w.counters.polls.add();
  const bool any = poller_->poll(0);
  if (any) poller_->dispatch(w);
  poller_taken_.store(false, std::memory_order_release);
  return any;
}

// ---- waking each other ----

void RuntimeCore::share(Worker& w) {
  // relaxed: hints. A wake-up missed here is made good by the idle worker's watch.
  if (idle_count_.load(std::memory_order_relaxed) == 0 ||
      searching_.load(std::memory_order_relaxed) != 0)
    return;
  w.counters.wakes.add();
  wake_one();
}

// Whoever keeps the watch is woken last.
void RuntimeCore::wake_one() {
  Worker* w = nullptr;
  bool polls = false;
  {
    std::lock_guard guard(idle_lock_);
    if (idle_.empty()) return;
    const auto worth = [](const Worker* x) { return x->in_poller ? 0 : x->deputy ? 1 : 2; };
    auto best = idle_.end() - 1;
    for (auto i = best; i != idle_.begin() && worth(*best) < 2;) {
      if (worth(*--i) > worth(*best)) best = i;
    }
    w = *best;
    polls = w->in_poller;
    idle_.erase(best);
    w->idle_listed = false;
    idle_count_.fetch_sub(1, std::memory_order_seq_cst);
    searching_.fetch_add(1,
                         std::memory_order_relaxed);  // on behalf of the woken one: it will search
  }
  notify(*w, polls);
}

// The watch sleeps without limit, and this worker is about to be busy.
void RuntimeCore::rouse_watch() {
  Worker* w = nullptr;
  {
    std::lock_guard guard(idle_lock_);
    for (Worker* listed : idle_) {
      if (listed->in_poller || (listed->deputy && !w)) w = listed;
    }
    if (!w) return;
    // It stays listed: it takes itself off, finds nothing, and sleeps again with a limit.
    w->wake_word.store(1, std::memory_order_release);
    if (!w->in_poller) {
      futex_wake_one(w->wake_word);
      return;
    }
  }
  poller_->kick();
}

void RuntimeCore::notify(Worker& w, bool polls) {
  w.wake_word.store(1, std::memory_order_release);
  if (polls) {
    poller_->kick();
  } else {
    futex_wake_one(w.wake_word);
  }
}

void RuntimeCore::stop_all() {
  std::vector<std::pair<Worker*, bool>> sleepers;
  sleepers.reserve(workers_.size());
  {
    std::lock_guard guard(idle_lock_);
    for (Worker* w : idle_) {
      w->idle_listed = false;
      sleepers.emplace_back(w, w->in_poller);
    }
    idle_.clear();
    idle_count_.store(0, std::memory_order_seq_cst);
  }
  for (auto [w, polls] : sleepers) notify(*w, polls);
}

// ---- looking for work ----

Actor* RuntimeCore::find_work(Worker& w) {
  bool searching = false;
  for (;;) {
    if (!searching) searching_.fetch_add(1, std::memory_order_relaxed);
    Actor* a = search(w);
    const bool last = searching_.fetch_sub(1, std::memory_order_relaxed) == 1;
    searching = false;
    if (a) {
      w.deputy = false;
      w.quiet_naps = 0;
      // seq_cst: who stores the mark sees this worker off the idle list, or this one sees the mark.
      if (watch_asleep_.load(std::memory_order_seq_cst)) rouse_watch();
      if (last && !solo_ && w.ready.ring_size() + w.fresh.size() >= 2)
        share(w);  // there is more where that came from
      return a;
    }
    if (phase_.load(std::memory_order_acquire) == Phase::stopped) return nullptr;
    searching = idle(w);
    if (phase_.load(std::memory_order_acquire) == Phase::stopped) return nullptr;
  }
}

Actor* RuntimeCore::search(Worker& w) {
  const int rounds = solo_ || idle_count_.load(std::memory_order_relaxed) + 1 >= workers_.size()
                         ? 1
                         : kSearchRounds;
  for (int i = 0; i < rounds; ++i) {
    if (i == 0) w.maintain();
    run_commands(w);
    if (w.has_local_work() || take_injected(w)) {
      if (Actor* a = w.pick()) return a;
    }
    if (solo_) return nullptr;
    if (Actor* a = steal(w, false)) return a;
    for (int p = 0; p < 16; ++p) _mm_pause();
  }
  return nullptr;
}

Actor* RuntimeCore::steal(Worker& w, bool single) {
  const std::size_t n = workers_.size();
  w.random_state = w.random_state * 6364136223846793005ull + 1442695040888963407ull;
  const std::size_t start = static_cast<std::size_t>(w.random_state >> 33) % n;
  for (std::size_t i = 0; i < n; ++i) {
    Worker& victim = *workers_[(start + i) % n];
    if (&victim == &w) continue;
    Actor* first = nullptr;
    std::uint32_t stolen = 0;
    if (w.ready.empty()) first = w.ready.steal_from(victim.ready, single, stolen);
    if (!first) {
      const std::size_t fresh = victim.fresh.size();
      std::size_t take = fresh >= 2 ? fresh / 2 : (single ? fresh : 0);
      if (take > 16) take = 16;
      for (; take > 0; --take) {
        Actor* a = victim.fresh.steal();
        if (!a) break;
        ++stolen;
        w.irregular = true;
        if (!w.fresh.push(a)) inject_.push(a);
      }
    }
    w.counters.steals.add(stolen);
    if (first) w.ready.push(first);
    if (stolen) return w.pick();
  }
  return nullptr;
}

// ---- idling ----

void RuntimeCore::list_idle(Worker& w) {
  std::lock_guard guard(idle_lock_);
  w.wake_word.store(0, std::memory_order_relaxed);
  idle_.push_back(&w);
  w.idle_listed = true;
  idle_count_.fetch_add(1, std::memory_order_seq_cst);
}

// False: a waker has taken it off, and has counted it as searching.
bool RuntimeCore::unlist_idle(Worker& w) {
  std::lock_guard guard(idle_lock_);
  if (!w.idle_listed) return false;
  idle_.erase(std::find(idle_.begin(), idle_.end(), &w));
  w.idle_listed = false;
  idle_count_.fetch_sub(1, std::memory_order_seq_cst);
  return true;
}

// What others may have added since the search, seen from behind the fence of list_idle.
bool RuntimeCore::work_elsewhere(const Worker& w) const {
  if (commands_.load(std::memory_order_seq_cst) || inject_.size() != 0) return true;
  for (const auto& other : workers_) {
    if (other.get() != &w && (other->ready.ring_size() >= 2 || other->fresh.size() >= 2))
      return true;
  }
  return false;
}

// Sleeps. True: woken by another worker, which counts this one as searching.
bool RuntimeCore::idle(Worker& w) {
  if (hibernation_.look_while_idle(w)) return false;
  const std::uint64_t began = clock_.now_ns();
  w.in_poller = !poller_taken_.exchange(true, std::memory_order_acquire);
  const bool took_over = w.in_poller && w.deputy;
  w.deputy = !w.in_poller && !deputy_taken_.exchange(true, std::memory_order_acquire);
  list_idle(w);
  const bool others_busy = idle_count_.load(std::memory_order_seq_cst) < workers_.size();
  if (took_over && idle_count_.load(std::memory_order_relaxed) > 1)
    wake_one();  // another sleeper becomes the deputy
  bool happened = false;
  bool end = false;
  // After the listing: stop_all() stores the phase before it takes the list's lock.
  if (phase_.load(std::memory_order_acquire) != Phase::stopped && !work_elsewhere(w)) {
    if (!others_busy) {
      std::lock_guard guard(idle_lock_);
      end = idle_.size() == workers_.size() && quiescent();
    }
    if (!end) happened = nap(w, others_busy);
  }
  const bool woken = !unlist_idle(w);
  // Not idle any more: what is made runnable from here on is seen by whoever judges quiescence.
  if (w.in_poller) {
    if (happened) poller_->dispatch(w);
    fire_timers_of_others(w);
    if (others_busy) look_after_others(w);
  }
  if (w.in_poller) poller_taken_.store(false, std::memory_order_release);
  if (w.deputy) deputy_taken_.store(false, std::memory_order_release);
  w.in_poller = false;  // `deputy` stays: the next idle() looks whether it takes the poller over
  if (end) drain(w);
  w.counters.idle_ns.add(clock_.now_ns() - began);
  return woken;
}

// How long one that keeps the watch may sleep; kNever for the others.
std::uint64_t RuntimeCore::watch_until(Worker& w, bool others_busy) {
  if (solo_ || (!w.in_poller && !w.deputy)) return kNever;
  // The deputy second: the holder of the poller comes back to it first.
  const std::uint64_t interval = w.deputy ? 2 * kWatchInterval : kWatchInterval;
  if (others_busy) {
    w.quiet_naps = 0;
    return clock_.now_ns() + interval;
  }
  if (w.quiet_naps < kQuietNaps) return clock_.now_ns() + (interval << w.quiet_naps++);
  watch_asleep_.store(true, std::memory_order_seq_cst);
  if (idle_count_.load(std::memory_order_seq_cst) == workers_.size()) return kNever;
  return clock_.now_ns() + interval;
}

bool RuntimeCore::nap(Worker& w, bool others_busy) {
  const std::uint64_t until = watch_until(w, others_busy);
  bool happened = false;
  if (w.in_poller) {
    happened = sleep_in_poller(w, until);
  } else {
    sleep_on_futex(w, until);
  }
  if (until == kNever && (w.in_poller || w.deputy))
    watch_asleep_.store(false, std::memory_order_relaxed);
  return happened;
}

// Another worker may be busy with one actor for long, or late to wake up.
void RuntimeCore::fire_timers_of_others(Worker& w) {
  if (solo_) return;
  const std::uint64_t now = clock_.now_ns();
  for (const auto& other : workers_) {
    if (other.get() != &w && !other->wheel.empty() && other->next_timer_ns() <= now)
      other->fire_due_timers(w, now);
  }
}

// The actors that sit in the queues of a worker that is busy with one actor for long.
void RuntimeCore::look_after_others(Worker& w) {
  for (const auto& other : workers_) {
    if (other.get() == &w) continue;
    const bool sits = other->ready.ring_size() != 0 && other->ready.head() == other->watched_head;
    std::uint32_t stolen = 0;
    if (sits && w.ready.empty()) {
      if (Actor* a = w.ready.steal_from(other->ready, true, stolen)) w.ready.push(a);
    }
    if (other->fresh.size() != 0 && other->fresh.taken() == other->watched_fresh) {
      if (Actor* a = other->fresh.steal()) {
        w.ready.push(a);
        ++stolen;
      }
    }
    w.counters.steals.add(stolen);
    other->watched_head = other->ready.head();
    other->watched_fresh = other->fresh.taken();
  }
}

bool RuntimeCore::sleep_in_poller(Worker& w, std::uint64_t until) {
  until = std::min(until, hibernation_.next_ns());
  for (const auto& other : workers_) until = std::min(until, other->next_timer_ns());
  const std::uint64_t now = clock_.now_ns();
  const std::int64_t timeout =
      until == kNever ? -1 : static_cast<std::int64_t>(until > now ? until - now : 0);
  w.counters.polls.add();
  return poller_->poll(timeout);
}

void RuntimeCore::sleep_on_futex(Worker& w, std::uint64_t until) {
  until = std::min(until, w.next_timer_ns());
  if (until <= clock_.now_ns()) return;
  while (w.wake_word.load(std::memory_order_acquire) == 0) {
    futex_wait(w.wake_word, 0, until);
    if (until != kNever && clock_.now_ns() >= until) return;
  }
}

// Under the idle lock with every worker listed: nobody adds to anything but foreign threads, whose
// commands are looked at here.
bool RuntimeCore::quiescent() const {
  if (commands_.load(std::memory_order_seq_cst) || inject_.size() != 0) return false;
  if (holds_.load(std::memory_order_seq_cst) != 0 || io_waits.load(std::memory_order_seq_cst) != 0)
    return false;
  for (const auto& w : workers_) {
    if (w->has_local_work() || w->wheel.size() != 0) return false;
  }
  return true;
}

// Nothing will ever happen again by itself: what still lives is parked for ever and is unwound.
void RuntimeCore::drain(Worker& w) {
  if (live() == 0) {
    phase_.store(Phase::stopped, std::memory_order_release);  // before the list's lock
    stop_all();
    return;
  }
  phase_.store(Phase::draining, std::memory_order_release);
  ActorTable& table = ActorTable::instance();
  const std::uint32_t end = table.end();
  for (std::uint32_t i = 1; i < end; ++i) {
    Actor* a = table.find(i);
    if (!a) continue;
    const std::uint64_t word = a->word.load(std::memory_order_acquire);
    const ActorState s = state_word::state(word);
    if (a->runtime.load(std::memory_order_relaxed) == this && s != ActorState::free &&
        s != ActorState::done)
      kill_local(w, *a, state_word::generation(word));
  }
}

}  // namespace smarm
