// Mutex<T>: a value and the lock around it.
//
// It parks the actor, never the thread. Every lock has a time limit (30 s unless said), so that a
// deadlock is an error with a place and not a silence. Waiters are served in order; an actor that
// is running may take a free lock ahead of a waiter that has waited less than 1 ms, which keeps two
// workers from convoying.
#pragma once

#include <smarm/smarm.h>
#include <smarm/actor.hpp>
#include <smarm/sendable.hpp>
#include <smarm/time.hpp>

#include <expected>
#include <utility>

namespace smarm {

// The lock was not had in time.
struct LockTimeout {
  static const char* what() { return "smarm::Mutex: lock not acquired in time"; }
};

template <class T>
class Mutex;

// The locked value: *guard and guard->. Unlocks when it dies. Stays with its actor.
template <class T>
class [[nodiscard]] MutexGuard {
 public:
  MutexGuard(MutexGuard&& o) noexcept : owner_(std::exchange(o.owner_, nullptr)) {}
  MutexGuard& operator=(MutexGuard&& o) noexcept {
    if (this != &o) {
      unlock();
      owner_ = std::exchange(o.owner_, nullptr);
    }
    return *this;
  }
  ~MutexGuard() { unlock(); }
  T& operator*() const { return owner_->value_; }
  T* operator->() const { return &owner_->value_; }
  void unlock() {
    if (owner_) smarm_mutex_unlock(&std::exchange(owner_, nullptr)->lock_);
  }

 private:
  friend class Mutex<T>;
  explicit MutexGuard(Mutex<T>* owner) : owner_(owner) {}
  Mutex<T>* owner_;
};
template <class T>
inline constexpr bool thread_bound<MutexGuard<T>> = true;

template <class T>
class Mutex {
 public:
  template <class... Args>
    requires std::constructible_from<T, Args...>
  explicit Mutex(Args&&... args) : value_(std::forward<Args>(args)...) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  [[nodiscard]] std::expected<MutexGuard<T>, LockTimeout> lock() {
    return lock_for(30'000'000'000);
  }
  template <class Rep, class Period>
  [[nodiscard]] std::expected<MutexGuard<T>, LockTimeout> lock_timeout(
      std::chrono::duration<Rep, Period> d) {
    return lock_for(detail::to_ns(d));
  }
  [[nodiscard]] std::expected<MutexGuard<T>, LockTimeout> try_lock() {
    if (smarm_mutex_try_lock(&lock_) != SMARM_OK) return std::unexpected(LockTimeout{});
    return MutexGuard<T>(this);
  }

 private:
  friend class MutexGuard<T>;
  std::expected<MutexGuard<T>, LockTimeout> lock_for(std::int64_t ns) {
    int status = smarm_mutex_lock(&lock_, ns);
    if (status == SMARM_OK) return MutexGuard<T>(this);
    if (status == SMARM_E_TIMEOUT) return std::unexpected(LockTimeout{});
    detail::throw_status(status, "Mutex::lock");
  }
  smarm_mutex lock_{};
  T value_;
};

}  // namespace smarm
