#include "runtime/sched/monitor.hpp"

#include "runtime/base/clock.hpp"
#include "runtime/base/futex.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/context/red_zone.hpp"
#include "runtime/sched/accounts.hpp"
#include "runtime/sched/blocked.hpp"
#include "runtime/sched/running.hpp"
#include "runtime/sched/runtime_core.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>

namespace smarm {

namespace {

constexpr std::uint32_t kRoused = 1, kEnd = 2;
constexpr std::uint64_t kSwitches = 8;
constexpr std::uint64_t kQuiet = 1'000'000'000;  // ns of looks with nobody busy before it sleeps
constexpr std::uint64_t kLook = 5'000'000;       // ns at most between two
constexpr std::uint64_t kBlockedAfter = 10'000'000;
// ThreadSanitizer holds signals back until the thread is in a call of its own.
constexpr bool kSignals = !SMARM_TSAN;

// Changes with everything that shows a tick or a switch.
std::uint64_t activity_of(const Worker& w) {
  const WorkerCounters& c = w.counters;
  return c.resumes.get() + c.yields.get() + c.preempted_alloc.get() + c.preempted_async.get();
}

void (*chore)() = nullptr;
constexpr std::uint64_t kChoreInterval = 1'000'000'000;  // ns

}  // namespace

void Monitor::set_chore(void (*f)()) { chore = f; }

void Monitor::do_chore(std::uint64_t now_ns, bool at_once) {
  if (!chore || (!at_once && now_ns - chore_ns_ < kChoreInterval)) return;
  chore_ns_ = now_ns;
  chore();
}

void Monitor::start() {
  watched_.assign(runtime_.workers().capacity(), Watched{});
  blind_ = !can_see_calls();
  word_.store(0, std::memory_order_relaxed);
  thread_ = std::thread([this] { run(); });
}

void Monitor::set_quantum(std::uint64_t ns) {
  quantum_ns_.store(ns, std::memory_order_relaxed);
  wake();  // it may be asleep, for the old quantum
}

void Monitor::stop() {
  if (!thread_.joinable()) return;
  word_.store(kEnd, std::memory_order_release);
  futex_wake_one(word_);
  thread_.join();
}

void Monitor::wake() {
  std::uint32_t nothing = 0;
  if (word_.compare_exchange_strong(nothing, kRoused, std::memory_order_release))
    futex_wake_one(word_);
}

void Monitor::run() {
  Clock& clock = SystemClock::instance();
  if (blind_) report_once(said_blind_, SMARM_BLOCKED_UNSEEN);
  std::uint64_t busy_ns = clock.now_ns();  // when somebody was last
  for (;;) {
    const std::uint64_t began = clock.now_ns();
    const std::uint64_t quantum = kSignals ? quantum_ns() : 0;
    // Twice a quantum: an actor is stopped between one and one and a half of them.
    std::uint64_t until =
        began + (quantum ? std::clamp<std::uint64_t>(quantum / 2, 50'000, kLook) : kLook);
    if (began - busy_ns > kQuiet) {
      asleep_.store(true, std::memory_order_seq_cst);
      if (runtime_.all_idle()) {
        do_chore(began, true);
        until = kNever;
      }
    }
    while (word_.load(std::memory_order_acquire) == 0 && clock.now_ns() < until)
      futex_wait(word_, 0, until);
    asleep_.store(false, std::memory_order_relaxed);
    const std::uint32_t word = word_.load(std::memory_order_acquire);
    if (word == kEnd) return;
    if (word == kRoused) {
      std::uint32_t roused = kRoused;
      word_.compare_exchange_strong(roused, 0, std::memory_order_relaxed);
    }
    // Its signals are the report's, and so are the handlers, until the process has ended.
    if (process_reports.load(std::memory_order_relaxed)) continue;
    const std::uint64_t now = clock.now_ns();
    do_chore(now, false);
    if (word == kRoused || !runtime_.all_idle()) busy_ns = now;
    for (std::size_t i = 0; i < runtime_.workers().size(); ++i)
      look(*runtime_.workers()[i], watched_[i], now, quantum);
    call_extras();
  }
}

void Monitor::look(Worker& w, Watched& watched, std::uint64_t now_ns, std::uint64_t quantum_ns) {
  const std::uint64_t activity = activity_of(w);
  const pid_t thread = w.thread.load(std::memory_order_relaxed);
  if (activity != watched.activity || thread == 0 || w.resting.load(std::memory_order_relaxed)) {
    // Few switches since the look that ended in a signal: they followed it at once.
    const bool by_signal = watched.signalled_ns != 0 && activity - watched.activity <= kSwitches &&
                           watched.signalled_ns == watched.looked_ns;
    watched.since_ns = by_signal ? watched.signalled_ns : now_ns;
    watched.activity = activity;
    if (watched.blocked) runtime_.come_back(w);
    watched.blocked = false;
  } else {
    const std::uint64_t still = now_ns - watched.since_ns;
    if (watched.blocked) {
      look_at_blocked(w, watched);
    } else if (!blind_ && still + kLook / 8 >= kBlockedAfter) {
      watched.blocked = lend(w, watched, now_ns);
    }
    // An eighth early, for looks are not on the dot. Again at every look until something happens:
    // it may be in libc now, in its own code then.
    if (quantum_ns != 0 && still + quantum_ns / 8 >= quantum_ns && is_running(thread)) {
      ::tgkill(::getpid(), thread, SIGURG);
      watched.signalled_ns = now_ns;
    }
  }
  watched.looked_ns = now_ns;
}

// True: it blocks its thread, and others may run its actors.
bool Monitor::lend(Worker& w, Watched& watched, std::uint64_t now_ns) {
  const pid_t thread = w.thread.load(std::memory_order_relaxed);
  const Actor* const actor = w.current.peek();
  SleepingCall call;
  const auto still_asleep = [&] {
    // A handler on a stack of its own may have interrupted anything.
    return sleeps_in_call(thread, call) && stack_at(reinterpret_cast<void*>(call.sp)) &&
           !process_reports.load(std::memory_order_relaxed) && w.in_runtime.peek() == 0 &&
           w.current.peek() == actor && activity_of(w) == watched.activity;
  };
  if (!actor || !still_asleep() || !runtime_.go_blocked(w)) return false;
  w.prepare_to_lend();
  if (!still_asleep()) {
    w.stay();
    runtime_.come_back(w);
    return false;
  }
  w.lend();
  if (!still_asleep()) {
    runtime_.come_back(w);
    return false;
  }
  w.open();
  watched.awake = false;
  w.counters.blocked.add();
  account_of(actor->group.load(std::memory_order_relaxed))
      .blocked.fetch_add(1, std::memory_order_relaxed);
  call_extras();
  runtime_.wake_one();  // one that is idle already may be enough, and sleep for long
  report(w, watched, call, now_ns);
  return true;
}

// Nothing has moved. It is back when it runs, at two looks: who makes one short call after the
// other keeps its extra worker.
void Monitor::look_at_blocked(Worker& w, Watched& watched) {
  SleepingCall call;
  const bool awake = !sleeps_in_call(w.thread.load(std::memory_order_relaxed), call);
  if (awake && watched.awake) {
    runtime_.come_back(w);
    watched.blocked = false;
    watched.since_ns = watched.looked_ns;
  }
  watched.awake = awake;
}

void Monitor::report(Worker& w, const Watched& watched, const SleepingCall& call,
                     std::uint64_t now_ns) {
  const smarm_config& config = runtime_.config();
  Actor* const a = w.current.peek();
  if (!config.on_blocked || !a) return;
  smarm_blocked b{};
  b.struct_size = sizeof b;
  b.kind = SMARM_BLOCKED_ACTOR;
  b.worker = w.index;
  b.pid = a->pid();
  b.group = a->group.load(std::memory_order_relaxed);
  {
    const std::lock_guard reading(extras_lock());
    if (const ActorExtras* extras = a->extras.load(std::memory_order_acquire))
      extras->name.copy(b.name, sizeof b.name - 1);
  }
  b.system_call = call.number;
  b.blocked_ns = now_ns - watched.since_ns;
  std::array<void*, 48> frames;
  b.frame_count = trace_call(call, frames);
  b.frames = frames.data();
  // The block may be another actor's by now.
  if (activity_of(w) == watched.activity) config.on_blocked(&b, config.on_blocked_arg);
}

void Monitor::report_once(bool& reported, std::uint32_t kind) {
  const smarm_config& config = runtime_.config();
  if (std::exchange(reported, true) || !config.on_blocked) return;
  smarm_blocked b{};
  b.struct_size = sizeof b;
  b.kind = kind;
  config.on_blocked(&b, config.on_blocked_arg);
}

void Monitor::call_extras() {
  while (runtime_.short_handed()) {
    if (!runtime_.extras().call()) return report_once(said_no_extra_, SMARM_BLOCKED_NO_EXTRA);
  }
}

}  // namespace smarm
