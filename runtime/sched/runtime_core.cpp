#include "runtime/sched/runtime_core.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/sched/actor_main.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/running.hpp"

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

namespace smarm {

namespace {
constexpr std::size_t kInjectBatch = 32;
// A worker that has actors to run looks at the poller once in a timeslice, which is what an actor
// with IO waits for anyway beside one that computes; but while some that were ready at the last
// look have not had their turn, more of them gain nothing, and only push each other out of the
// caches.
constexpr std::uint64_t kPollInterval = 100'000;        // ns
constexpr std::uint64_t kLongPollInterval = 2'000'000;  // all the same
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
      workers_(config.workers + ExtraWorkers::kMost),
      hibernation_(*this, config.hibernate_after_ns),
      monitor_(*this, config.async_preempt_ns) {
  for (std::uint32_t i = 0; i < config.workers; ++i)
    workers_.add(std::make_unique<Worker>(*this, i, false));
  idle_.reserve(workers_.capacity());
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
  const RunningRuntime listed(*this);
  searching_.store(0, std::memory_order_relaxed);
  muster();
  // They wait until the first actor is queued, or until it is clear that there will be none.
  enum : std::uint32_t { kWait, kGo, kGiveUp };
  std::atomic<std::uint32_t> gun{kWait};
  std::vector<std::thread> threads;
  const auto start = [&](std::uint32_t how) {
    gun.store(how, std::memory_order_release);
    gun.notify_all();
    if (how == kGo) first.run();
    for (std::thread& t : threads) t.join();
    monitor_.stop();
    extras_.finish();
    muster();
  };
  Actor* root = nullptr;
  try {
    for (std::size_t i = 1; i < config_.workers; ++i) {
      threads.emplace_back([&gun, w = workers_[i].get()] {
        gun.wait(kWait, std::memory_order_acquire);
        if (gun.load(std::memory_order_acquire) == kGo) w->run();
      });
    }
    monitor_.start();
    // The first actor is made on this thread before it is a worker: nobody else looks at the
    // queues.
    smarm_tls_worker = &first;
    root = spawn_on(first, {entry, closure, {}, 0, stack_class_of(config_.stack_size)});
    smarm_tls_worker = nullptr;
  } catch (const std::system_error& e) {
    set_last_error("cannot start thread %zu for %zu workers: %s; ask for fewer", threads.size() + 2,
                   std::size_t{config_.workers}, e.what());
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
  const std::size_t share_of_all = std::min(kInjectBatch, inject_.size() / config_.workers + 1);
  std::array<Actor*, kInjectBatch> batch;
  std::size_t taken = 0;
  while (taken < share_of_all && (batch[taken] = inject_.pop())) ++taken;
  for (std::size_t i = taken; i > 0; --i) w.hold_fresh(batch[i - 1]);  // the oldest goes first
  return taken > 0;
}

void RuntimeCore::look_at_poller(Worker& w, std::uint64_t now_ns) {
  const std::uint64_t since = now_ns - polled_ns_.load(std::memory_order_relaxed);
  if (since < kPollInterval || (since < kLongPollInterval && !w.ready.reached(w.polled_position)))
    return;
  if (poller_taken_.exchange(true, std::memory_order_acquire)) return poller_->submit();
  polled_ns_.store(now_ns, std::memory_order_relaxed);
  w.counters.polls.add();
  if (poller_->poll(0)) poller_->dispatch(w);
  w.polled_position = w.ready.end_position();
  poller_taken_.store(false, std::memory_order_release);
}

// ---- the end ----

// Under the idle lock with the whole crew listed: nobody adds to anything but foreign threads,
// whose commands are looked at here.
bool RuntimeCore::quiescent() const {
  if (commands_.load(std::memory_order_seq_cst) || inject_.size() != 0) return false;
  if (holds_.load(std::memory_order_seq_cst) != 0) return false;
  std::uint64_t io_waits = 0;
  for (const auto& w : workers_) {
    if (w->has_local_work() || w->wheel.size() != 0) return false;
    io_waits += w->io_waits.get();
  }
  return io_waits == 0;
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
