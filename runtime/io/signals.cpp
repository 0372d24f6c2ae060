// Signals as a channel. The handler notes the signal for everybody who has asked for it and writes
// to their eventfds, which is all that a handler may do; an actor for each waits there and sends.
//
// A subscriber's place: `wanted` says which signals it wants (0: the place is free, or is being
// made or left), `pending` which have come, `fd` is its eventfd.
// 1. Places are taken, left and their handlers installed under `places_lock`.
// 2. The handler reads `wanted` (acquire: `fd` was written before it) and counts itself in
// `handlers` before; who leaves a place clears `wanted` and waits until no handler runs before it
// closes the descriptor (both seq_cst: one of the two sees the other).

#include <smarm/signals.hpp>

#include "runtime/fault/signal_guard.hpp"
#include "runtime/io/address.hpp"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <string>

namespace smarm {

namespace {

constexpr int kSignals = 65;  // numbers below

struct Place {
  std::atomic<std::uint64_t> wanted{0}, pending{0};
  std::atomic<int> fd{-1};
  bool taken = false;
};
std::array<Place, 64> places;
std::mutex places_lock;             // rank: signals
std::array<int, kSignals> users{};  // how many places want it
std::array<struct sigaction, kSignals> before{};
std::atomic<std::uint32_t> handlers{0};

std::uint64_t bit(int signal) { return std::uint64_t{1} << (signal - 1); }

void on_signal(int signal) {
  handlers.fetch_add(1, std::memory_order_seq_cst);
  for (Place& p : places) {
    if (!(p.wanted.load(std::memory_order_seq_cst) & bit(signal))) continue;
    p.pending.fetch_or(bit(signal), std::memory_order_release);
    const std::uint64_t one = 1;
    raw_syscall(SYS_write, p.fd.load(std::memory_order_relaxed), &one, sizeof one);
  }
  handlers.fetch_sub(1, std::memory_order_release);
}

bool can_be_caught(int signal) {
  if (signal < 1 || signal >= kSignals) return false;
  for (int s : {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) {
    if (s == signal) return false;
  }
  return ::sigabbrev_np(signal) != nullptr || signal >= SIGRTMIN;
}

std::string name_of(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

// A place, left with its object.
class Subscription {
 public:
  Subscription() = default;
  Subscription(Subscription&& o) noexcept : place_(std::exchange(o.place_, nullptr)) {}
  Subscription& operator=(Subscription&&) = delete;
  ~Subscription() {
    if (place_) leave();
  }

  // 0 or an errno.
  int take(std::uint64_t wanted) {
    const long fd = raw_syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return static_cast<int>(-fd);
    const std::lock_guard guard(places_lock);
    for (Place& p : places) {
      if (p.taken) continue;
      p.taken = true;
      p.pending.store(0, std::memory_order_relaxed);
      p.fd.store(static_cast<int>(fd), std::memory_order_relaxed);
      p.wanted.store(wanted, std::memory_order_seq_cst);
      place_ = &p;
      for (int s = 1; s < kSignals; ++s) {
        if ((wanted & bit(s)) && users[s]++ == 0) install(s);
      }
      return 0;
    }
    close_fd(fd);
    return EUSERS;
  }
  int fd() const { return place_->fd.load(std::memory_order_relaxed); }
  std::uint64_t take_pending() { return place_->pending.exchange(0, std::memory_order_acquire); }

 private:
  static void install(int signal) {
    struct sigaction action{};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    set_action(signal, &action, &before[signal]);
  }
  void leave() {
    const std::lock_guard guard(places_lock);
    const std::uint64_t wanted = place_->wanted.exchange(0, std::memory_order_seq_cst);
    for (int s = 1; s < kSignals; ++s) {
      if ((wanted & bit(s)) && --users[s] == 0) set_action(s, &before[s], nullptr);
    }
    while (handlers.load(std::memory_order_seq_cst) != 0) ::sched_yield();
    close_fd(place_->fd.exchange(-1, std::memory_order_relaxed));
    place_->taken = false;
  }

  Place* place_ = nullptr;
};

// Until nobody listens any more, or it is killed.
void pump(Subscription& subscription, const Sender<int>& to) {
  for (;;) {
    std::uint64_t count = 0;
    auto n = read(subscription.fd(), {reinterpret_cast<char*>(&count), sizeof count});
    if (!n) return;
    const std::uint64_t came = subscription.take_pending();
    for (int s = 1; s < kSignals; ++s) {
      if ((came & bit(s)) && !to.send(s)) return;
    }
  }
}

}  // namespace

SMARM_PUBLIC IoResult<Signals> Signals::open(std::initializer_list<int> signals) {
  std::uint64_t wanted = 0;
  for (int s : signals) {
    if (!can_be_caught(s))
      return failure(std::make_error_code(std::errc::invalid_argument), "catch", name_of(s));
    if (is_used_by_host(s))
      return failure(std::make_error_code(std::errc::device_or_resource_busy), "catch", name_of(s));
    wanted |= bit(s);
  }
  Subscription subscription;
  if (int error = subscription.take(wanted)) return failure(error, "catch", "signals");
  auto [tx, rx] = smarm::channel<int>();
  Signals all;
  all.channel_ = std::move(rx);
  all.pump_ = spawn_under(ROOT_PID, {.name = "signals"},
                          [subscription = std::move(subscription), tx = std::move(tx)]() mutable {
                            pump(subscription, tx);
                          })
                  .pid();
  return all;
}

SMARM_PUBLIC void Signals::stop() noexcept {
  channel_.close();
  if (pump_ != Pid()) kill(std::exchange(pump_, Pid()));
}

}  // namespace smarm
