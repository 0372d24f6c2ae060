// Actors: spawn, join, wait, end.
//
// Every function here acts on the calling actor unless it takes a Pid. Outside an actor spawn,
// yield_now, sleep, park_current and self_pid throw std::logic_error; unpark, stop and kill are
// legal from any thread. Functions that park never block the OS thread, and the actor may resume on
// another one: hold no address of a thread_local and no errno across them.
#pragma once

#include <smarm/smarm.h>
#include <smarm/exit.hpp>
#include <smarm/pid.hpp>
#include <smarm/sendable.hpp>
#include <smarm/time.hpp>

#include <array>
#include <expected>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace smarm {

// A limit stopped a spawn (stacks, actors); what() names the limit and the way out.
class SpawnError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct SpawnOptions {
  std::string name{};          // shown by tools, at most 31 bytes are kept
  std::size_t stack_size = 0;  // bytes of the slot; 0: the runtime's
  Duration deadline{};  // > 0: an actor that lives longer is reported to its supervisor as Timeout
                        // and killed
};

namespace detail {
[[noreturn]] inline void throw_status(int status, const char* what) {
  switch (status) {
    case SMARM_E_NOT_ACTOR:
      throw std::logic_error(std::string(what) + ": the caller is not an actor");
    case SMARM_E_NESTED: throw std::logic_error(std::string(what) + ": run inside run");
    case SMARM_E_LIMIT: throw SpawnError(std::string(what) + ": " + smarm_last_error());
    default: throw std::runtime_error(std::string(what) + ": status " + std::to_string(status));
  }
}

// The two things a runtime does with a closure: move it onto the actor's own stack and run it, or
// drop it unrun.
template <class F>
void entry(void* block, int op) {
  F* stored = std::launder(static_cast<F*>(block));
  if (op == SMARM_DROP) {
    std::destroy_at(stored);
    smarm_block_free(block, sizeof(F));
    return;
  }
  F f = std::move(*stored);
  std::destroy_at(stored);
  smarm_block_free(block, sizeof(F));
  static_cast<void>(std::invoke(std::move(f)));
}

template <class F>
void* make_closure(F&& f) {
  using Closure = std::decay_t<F>;
  static_assert(alignof(Closure) <= 16, "a spawned callable may not be over-aligned");
  void* block = smarm_block_alloc(sizeof(Closure));
  if (!block) throw std::bad_alloc();
  try {
    ::new (block) Closure(std::forward<F>(f));
  } catch (...) {
    smarm_block_free(block, sizeof(Closure));
    throw;
  }
  return block;
}
}  // namespace detail

// The handle of a spawned actor. Move-only. Dropping it detaches: the actor goes on, nobody hears
// of its end but its supervisor.
class [[nodiscard(
    "a dropped JoinHandle detaches the actor; say (void) when that is meant")]] JoinHandle {
 public:
  JoinHandle() = default;
  explicit JoinHandle(smarm_actor* owned) : raw_(owned) {}
  JoinHandle(JoinHandle&& o) noexcept : raw_(std::exchange(o.raw_, nullptr)) {}
  JoinHandle& operator=(JoinHandle&& o) noexcept {
    if (this != &o) {
      detach();
      raw_ = std::exchange(o.raw_, nullptr);
    }
    return *this;
  }
  ~JoinHandle() { detach(); }

  // Waits for the actor's end. Parks. Once only: a second join throws std::logic_error, as does one
  // outside an actor.
  std::expected<void, JoinError> join() {
    if (!raw_) throw std::logic_error("join: the handle is empty or was joined already");
    smarm_exit* exit = nullptr;
    const int status = smarm_join(raw_, &exit);
    if (status == SMARM_E_DYING)
      return std::unexpected(JoinError(detail::ExitRecord()));  // in a destructor of a killed actor
    if (status) detail::throw_status(status, "join");
    raw_ = nullptr;
    if (exit) return std::unexpected(JoinError(detail::ExitRecord(exit)));
    return {};
  }
  Pid pid() const { return raw_ ? Pid(smarm_actor_pid(raw_)) : ROOT_PID; }
  bool joinable() const { return raw_ != nullptr; }
  void detach() {
    if (raw_) smarm_detach(std::exchange(raw_, nullptr));
  }

 private:
  smarm_actor* raw_ = nullptr;
};

namespace detail {
template <class F>
JoinHandle spawn_raw(const SpawnOptions* options, const Pid* supervisor, F&& f) {
  smarm_spawn_options raw{};
  const bool plain = !options && !supervisor;
  if (!plain) {
    raw.struct_size = sizeof raw;
    if (options) {
      raw.name = options->name.empty() ? nullptr : options->name.c_str();
      raw.stack_size = options->stack_size;
      raw.deadline_ns = options->deadline > Duration::zero() ? to_ns(options->deadline) : 0;
    }
    if (supervisor) {
      raw.flags |= SMARM_SPAWN_UNDER;
      raw.supervisor = supervisor->raw();
    }
  }
  void* closure = make_closure(std::forward<F>(f));
  smarm_actor* handle = nullptr;
  if (int status =
          smarm_spawn(plain ? nullptr : &raw, &entry<std::decay_t<F>>, closure, &handle, nullptr)) {
    entry<std::decay_t<F>>(closure, SMARM_DROP);
    throw_status(status, "spawn");
  }
  return JoinHandle(handle);
}
}  // namespace detail

// Makes an actor that runs f; the caller is its supervisor. Does not park. Throws SpawnError at a
// limit, std::bad_alloc without memory.
template <class F>
  requires Sendable<std::decay_t<F>> && std::invocable<std::decay_t<F>>
JoinHandle spawn(F&& f) {
  return detail::spawn_raw(nullptr, nullptr, std::forward<F>(f));
}
template <class F>
  requires Sendable<std::decay_t<F>> && std::invocable<std::decay_t<F>>
JoinHandle spawn(const SpawnOptions& options, F&& f) {
  return detail::spawn_raw(&options, nullptr, std::forward<F>(f));
}
// The same under another supervisor: it, not the caller, hears of the end.
template <class F>
  requires Sendable<std::decay_t<F>> && std::invocable<std::decay_t<F>>
JoinHandle spawn_under(Pid supervisor, F&& f) {
  return detail::spawn_raw(nullptr, &supervisor, std::forward<F>(f));
}
template <class F>
  requires Sendable<std::decay_t<F>> && std::invocable<std::decay_t<F>>
JoinHandle spawn_under(Pid supervisor, const SpawnOptions& options, F&& f) {
  return detail::spawn_raw(&options, &supervisor, std::forward<F>(f));
}

// Joins every handle, in order, and returns the results in that order. Parks.
template <class... Handles>
  requires(std::same_as<std::remove_cvref_t<Handles>, JoinHandle> && ...)
auto join_all(Handles&&... handles) {
  return std::array<std::expected<void, JoinError>, sizeof...(Handles)>{handles.join()...};
}
template <class Range>
  requires requires(Range& r) { std::begin(r)->join(); }
std::vector<std::expected<void, JoinError>> join_all(Range&& handles) {
  std::vector<std::expected<void, JoinError>> results;
  if constexpr (requires { std::size(handles); }) results.reserve(std::size(handles));
  for (auto& h : handles) results.push_back(h.join());
  return results;
}

inline Pid self_pid() {
  smarm_pid self = smarm_self();
  if (self.generation == 0) detail::throw_status(SMARM_E_NOT_ACTOR, "self_pid");
  return Pid(self);
}
// To the tail of the run queue. An explicit safe-point.
inline void yield_now() {
  if (int s = smarm_yield(); s && s != SMARM_E_DYING) detail::throw_status(s, "yield_now");
}
// Waits for at least the time. Parks.
template <class Rep, class Period>
void sleep(std::chrono::duration<Rep, Period> d) {
  if (int s = smarm_sleep(detail::to_ns(d)); s && s != SMARM_E_DYING)
    detail::throw_status(s, "sleep");
}
// Waits for unpark(self). An unpark that came first is remembered (once) and makes this return at
// once; there are no other wake-ups.
inline void park_current() {
  if (int s = smarm_park(); s && s != SMARM_E_DYING) detail::throw_status(s, "park_current");
}
// False when the actor has ended.
inline bool unpark(Pid pid) { return smarm_unpark(pid.raw()) == SMARM_OK; }
// A safe-point for loops that never allocate: may yield when the timeslice is used up, and unwinds
// an actor that was killed.
inline void check() { smarm_check(); }
// Asks an actor to end: its stop_requested() turns true and its stop channel closes. False when it
// has ended.
inline bool stop(Pid pid) { return smarm_stop(pid.raw()) == SMARM_OK; }
// Unwinds an actor at its next park or explicit safe-point, destructors included. False when it has
// ended.
inline bool kill(Pid pid) { return smarm_kill(pid.raw()) == SMARM_OK; }
inline bool stop_requested() { return smarm_stop_requested() != 0; }

// While one lives, its actor is not preempted at allocations. Do not park meanwhile.
class NoPreempt {
 public:
  NoPreempt() { smarm_no_preempt_enter(); }
  ~NoPreempt() { smarm_no_preempt_leave(); }
  NoPreempt(const NoPreempt&) = delete;
  NoPreempt& operator=(const NoPreempt&) = delete;
};
template <>
inline constexpr bool thread_bound<NoPreempt> = true;

}  // namespace smarm
