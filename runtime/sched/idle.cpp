// How the workers of a runtime look for work, sleep without it, keep the watch and wake each other.
// runtime_core.hpp has the protocol.

#include "runtime/base/futex.hpp"
#include "runtime/sched/runtime_core.hpp"

#include <immintrin.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace smarm {

namespace {
constexpr int kSearchRounds =
    200;  // a few microseconds of looking before a sleep that costs 20 us to end
constexpr std::uint64_t kWatchInterval =
    5'000'000;  // how long an actor may sit behind another that does not yield, while some worker
                // is idle
constexpr std::uint32_t kQuietNaps = 8;  // each twice as long as the one before: 1.3 s in all
}  // namespace

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

// Some of the watch sleep longer than it does beside busy workers, and this one is about to be
// busy.
void RuntimeCore::rouse_watch() {
  watch_asleep_.store(false, std::memory_order_seq_cst);
  bool polls = false;
  {
    std::lock_guard guard(idle_lock_);
    // They stay listed: they take themselves off, find nothing, and sleep again with a limit.
    for (Worker* listed : idle_) {
      if (!listed->in_poller && !listed->deputy) continue;
      tell(*listed);
      polls |= listed->in_poller;
    }
  }
  if (polls) poller_->kick();
}

// Wakes one that stays listed. Under the idle lock; who sleeps in the poller has to be kicked
// behind it.
void RuntimeCore::tell(Worker& listed) {
  listed.wake_word.store(1, std::memory_order_release);
  if (!listed.in_poller) futex_wake_one(listed.wake_word);
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
  sleepers.reserve(workers_.capacity());
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
    if (w.extra && go_off_duty(w)) {
      poller_->submit();  // nobody else may look for long
      if (searching) searching_.fetch_sub(1, std::memory_order_relaxed);
      return nullptr;
    }
    if (!searching) searching_.fetch_add(1, std::memory_order_relaxed);
    Actor* a = search(w);
    const bool last = searching_.fetch_sub(1, std::memory_order_relaxed) == 1;
    searching = false;
    if (a) {
      w.deputy = false;
      w.quiet_naps = 0;
      // seq_cst: who stores the mark sees this worker off the idle list, or this one sees the mark.
      if (watch_asleep_.load(std::memory_order_seq_cst)) rouse_watch();
      monitor_.rouse();
      if (last && !w.solo && w.ready.ring_size() + w.fresh.size() >= 2)
        share(w);  // there is more where that came from
      return a;
    }
    if (phase_.load(std::memory_order_acquire) == Phase::stopped) return nullptr;
    searching = idle(w);
    if (phase_.load(std::memory_order_acquire) == Phase::stopped) return nullptr;
  }
}

Actor* RuntimeCore::search(Worker& w) {
  const int rounds =
      w.solo || idle_count_.load(std::memory_order_relaxed) + 1 >= crew() ? 1 : kSearchRounds;
  for (int i = 0; i < rounds; ++i) {
    if (i == 0) w.maintain();
    run_commands(w);
    if (w.has_local_work() || take_injected(w)) {
      if (Actor* a = w.pick()) return a;
    }
    if (w.solo) return nullptr;
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
    // Of one that blocks its thread everything is to be had.
    const bool blocked = victim.duty.load(std::memory_order_relaxed) == Worker::Duty::blocked;
    if (w.ready.empty()) {
      first = w.ready.steal_from(victim.ready, single || blocked, stolen);
      if (!first && blocked) first = w.ready.steal_overflow(victim.ready, stolen);
    }
    if (!first) {
      const std::size_t fresh = victim.fresh.size();
      std::size_t take = fresh >= 2 ? fresh / 2 : (single || blocked ? fresh : 0);
      if (take > 16) take = 16;
      for (; take > 0; --take) {
        Actor* a = victim.fresh.steal();
        if (!a) break;
        ++stolen;
        w.hold_fresh(a);
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
    if (other.get() == &w) continue;
    const bool blocked = other->duty.load(std::memory_order_relaxed) == Worker::Duty::blocked;
    const std::size_t least = blocked ? 1 : 2;
    if (other->ready.ring_size() >= least || other->fresh.size() >= least ||
        (blocked && other->ready.overflow_size() != 0))
      return true;
  }
  return false;
}

// Sleeps. True: woken by another worker, which counts this one as searching.
bool RuntimeCore::idle(Worker& w) {
  // Also when it has queued an actor that was woken while its stack was frozen: here, where nobody
  // else looks for one alone.
  if (hibernation_.look_while_idle(w) || w.has_local_work()) return false;
  const std::uint64_t began = clock_.now_ns();
  w.in_poller = !poller_taken_.exchange(true, std::memory_order_acquire);
  const bool took_over = w.in_poller && w.deputy;
  w.deputy = !w.in_poller && !deputy_taken_.exchange(true, std::memory_order_acquire);
  list_idle(w);
  const bool others_busy = !all_idle();
  if (took_over && idle_count_.load(std::memory_order_relaxed) > 1)
    wake_one();  // another sleeper becomes the deputy
  bool happened = false;
  bool looked = false;  // at the poller
  bool end = false;
  // After the listing: stop_all() stores the phase before it takes the list's lock.
  if (phase_.load(std::memory_order_acquire) != Phase::stopped && !work_elsewhere(w) &&
      !(w.extra && surplus())) {
    if (!others_busy) {
      std::lock_guard guard(idle_lock_);
      end = idle_.size() == crew() && quiescent();
    }
    if (!end) {
      w.resting.store(true, std::memory_order_relaxed);
      happened = nap(w, others_busy);
      looked = w.in_poller;
      w.resting.store(false, std::memory_order_relaxed);
    }
  }
  const bool woken = !unlist_idle(w);
  // Not idle any more: what is made runnable from here on is seen by whoever judges quiescence.
  if (w.in_poller) {
    if (happened) poller_->dispatch(w);
    w.polled_position = w.ready.end_position();
    fire_timers_of_others(w);
    if (others_busy) look_after_others(w);
  }
  const std::uint64_t now = clock_.now_ns();
  if (looked) polled_ns_.store(now, std::memory_order_relaxed);
  if (w.in_poller) {
    poller_taken_.store(false, std::memory_order_release);
  }
  if (w.deputy) deputy_taken_.store(false, std::memory_order_release);
  w.in_poller = false;  // `deputy` stays: the next idle() looks whether it takes the poller over
  if (end) drain(w);
  w.counters.idle_ns.add(now - began);
  return woken;
}

// How long one that keeps the watch may sleep; kNever for the others.
std::uint64_t RuntimeCore::watch_until(Worker& w, bool others_busy) {
  if (w.solo || (!w.in_poller && !w.deputy)) return kNever;
  // The deputy second: the holder of the poller comes back to it first.
  const std::uint64_t interval = w.deputy ? 2 * kWatchInterval : kWatchInterval;
  if (others_busy) {
    w.quiet_naps = 0;
    return clock_.now_ns() + interval;
  }
  const std::uint32_t quiet = w.quiet_naps;
  if (quiet == 0) return clock_.now_ns() + (interval << w.quiet_naps++);
  // seq_cst: who becomes busy sees the mark, or this one sees it off the idle list.
  watch_asleep_.store(true, std::memory_order_seq_cst);
  if (!all_idle()) return clock_.now_ns() + interval;
  return quiet < kQuietNaps ? clock_.now_ns() + (interval << w.quiet_naps++) : kNever;
}

bool RuntimeCore::nap(Worker& w, bool others_busy) {
  const std::uint64_t until = watch_until(w, others_busy);
  bool happened = false;
  if (w.in_poller) {
    happened = sleep_in_poller(w, until);
  } else {
    poller_->submit();
    sleep_on_futex(w, until);
  }
  // Roused or called: not as quiet as it seemed, whatever it finds.
  if (w.wake_word.load(std::memory_order_relaxed) != 0) w.quiet_naps = 0;
  return happened;
}

// Another worker may be busy with one actor for long, or late to wake up.
void RuntimeCore::fire_timers_of_others(Worker& w) {
  if (w.solo) return;
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

}  // namespace smarm
