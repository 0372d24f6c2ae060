// Interposed locks: while an actor holds a pthread mutex, rwlock or spin lock, runs a pthread_once
// routine or initialises a function-local static, an allocation must not switch it out. Another
// actor of the same worker that wants the lock would block the thread that the holder needs: a
// deadlock. So each of these raises the actor's no_preempt count.
//
// An actor that meets such a lock taken lets the others of its worker run and tries again. One that
// holds another lock must not: it blocks the thread, as everybody did before. So does who waits for
// a once routine, a static or a condition variable.
//
// The executable defines the names, libraries and plugins bind to them. Behind them are glibc's own
// functions, reached by their internal names: looking them up at run time would come too late,
// since locks are taken before main. Where there is no such name, and under a sanitizer, whose
// interceptor lies between, the next definition is looked up at the first call. The locks of C11
// are those of pthreads by other names. A lock taken by one actor and released by another, or by a
// thread, cannot push a count below zero.

#include "runtime/base/next_definition.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/sched/preempt.hpp"

#include <cxxabi.h>
#include <pthread.h>
#include <sched.h>
#include <threads.h>
#include <time.h>

#include <algorithm>
#include <cerrno>

#define SMARM_INTERPOSE extern "C" __attribute__((visibility("default")))

namespace {

using smarm::Next;

bool was_taken(int result) { return result == 0 || result == EOWNERDEAD; }

// Raises the count when the lock was taken.
int held(int result) {
  if (was_taken(result)) smarm::no_preempt_enter();
  return result;
}
int released(int result) {
  if (result == 0) smarm::no_preempt_leave();
  return result;
}

// ---- waiting as an actor ----

constexpr long kSecond = 1'000'000'000;
constexpr long kShortestNap = 64'000, kLongestNap = 1'000'000;  // ns

bool reached(const timespec& deadline, const timespec& now) {
  return now.tv_sec != deadline.tv_sec ? now.tv_sec > deadline.tv_sec
                                       : now.tv_nsec >= deadline.tv_nsec;
}

// Tries again whenever the others of the worker have had their turn. When there are none the lock
// is waited for on the thread, so that no CPU is burnt, but not for long: nobody can tell this
// worker meanwhile that an actor has become runnable. A nap counts from before the others' turns,
// so that the naps of many overlap.
template <class Try, class WaitUntil>
[[gnu::noinline]] int take_by_turns(smarm::Worker& w, Try try_now, WaitUntil wait_until,
                                    clockid_t clock, const timespec* deadline) {
  smarm::Retries retries(w);
  long nap = kShortestNap;
  for (;;) {
    timespec until;
    ::clock_gettime(clock, &until);
    if (deadline && reached(*deadline, until)) return ETIMEDOUT;
    const bool others_ran = retries.let_others_run();
    int result = try_now();
    if (result != EBUSY) return result;
    if (others_ran) {
      nap = kShortestNap;
      continue;
    }
    until.tv_nsec += nap;
    if (until.tv_nsec >= kSecond) {
      until.tv_nsec -= kSecond;
      ++until.tv_sec;
    }
    if (deadline && reached(*deadline, until)) until = *deadline;
    result = wait_until(until);
    if (result != ETIMEDOUT) return result;
    nap = std::min(2 * nap, kLongestNap);
  }
}

// Takes a lock: by `lock` on the thread, or by the two others in turns with the worker's actors.
// `wait_until` and the deadline are by `clock`; without a deadline by the one that every kernel and
// every sanitizer has a form for.
template <class Lock, class Try, class WaitUntil>
inline int take(Lock lock, Try try_now, WaitUntil wait_until, clockid_t clock = CLOCK_REALTIME,
                const timespec* deadline = nullptr) {
  smarm::Worker* w = smarm::current_worker();
  if (!w || !w->current) return lock();  // no actor, no count
  const bool in_turns = preemptible(*w);
  int result = in_turns ? try_now() : lock();
  if (in_turns && result == EBUSY) [[unlikely]]
    result = take_by_turns(*w, try_now, wait_until, clock, deadline);
  if (was_taken(result)) ++w->current->no_preempt;  // the same worker: implicit yields stay there
  return result;
}
template <class Try, class WaitUntil>
inline int take_in_time(Try try_now, WaitUntil wait_until, clockid_t clock,
                        const timespec* deadline) {
  const auto lock = [&] { return wait_until(*deadline); };
  const bool sound = (clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC) &&
                     deadline->tv_nsec >= 0 && deadline->tv_nsec < kSecond;
  if (!sound) return held(lock());  // EINVAL, if glibc looks at it
  return take(lock, try_now, wait_until, clock, deadline);
}

}  // namespace

// ---- pthreads: mutexes, rwlocks, spin locks, once ----

#if !SMARM_ASAN && !SMARM_TSAN

extern "C" {
int glibc_mutex_lock(pthread_mutex_t*);
int glibc_mutex_trylock(pthread_mutex_t*);
int glibc_mutex_unlock(pthread_mutex_t*);
int glibc_rwlock_rdlock(pthread_rwlock_t*);
int glibc_rwlock_wrlock(pthread_rwlock_t*);
int glibc_rwlock_tryrdlock(pthread_rwlock_t*);
int glibc_rwlock_trywrlock(pthread_rwlock_t*);
int glibc_rwlock_unlock(pthread_rwlock_t*);
int glibc_once(pthread_once_t*, void (*)());
}
__asm__(".symver glibc_mutex_lock, __pthread_mutex_lock@GLIBC_2.2.5");
__asm__(".symver glibc_mutex_trylock, __pthread_mutex_trylock@GLIBC_2.2.5");
__asm__(".symver glibc_mutex_unlock, __pthread_mutex_unlock@GLIBC_2.2.5");
__asm__(".symver glibc_rwlock_rdlock, __pthread_rwlock_rdlock@GLIBC_2.2.5");
__asm__(".symver glibc_rwlock_wrlock, __pthread_rwlock_wrlock@GLIBC_2.2.5");
__asm__(".symver glibc_rwlock_tryrdlock, __pthread_rwlock_tryrdlock@GLIBC_2.2.5");
__asm__(".symver glibc_rwlock_trywrlock, __pthread_rwlock_trywrlock@GLIBC_2.2.5");
__asm__(".symver glibc_rwlock_unlock, __pthread_rwlock_unlock@GLIBC_2.2.5");
__asm__(".symver glibc_once, __pthread_once@GLIBC_2.2.5");

#else

namespace {
constinit Next<int (*)(pthread_mutex_t*)> glibc_mutex_lock("pthread_mutex_lock");
constinit Next<int (*)(pthread_mutex_t*)> glibc_mutex_trylock("pthread_mutex_trylock");
constinit Next<int (*)(pthread_mutex_t*)> glibc_mutex_unlock("pthread_mutex_unlock");
constinit Next<int (*)(pthread_rwlock_t*)> glibc_rwlock_rdlock("pthread_rwlock_rdlock");
constinit Next<int (*)(pthread_rwlock_t*)> glibc_rwlock_wrlock("pthread_rwlock_wrlock");
constinit Next<int (*)(pthread_rwlock_t*)> glibc_rwlock_tryrdlock("pthread_rwlock_tryrdlock");
constinit Next<int (*)(pthread_rwlock_t*)> glibc_rwlock_trywrlock("pthread_rwlock_trywrlock");
constinit Next<int (*)(pthread_rwlock_t*)> glibc_rwlock_unlock("pthread_rwlock_unlock");
constinit Next<int (*)(pthread_once_t*, void (*)())> glibc_once("pthread_once");
}  // namespace

#endif

namespace {
constinit Next<int (*)(pthread_mutex_t*, const timespec*)> next_timedlock(
    "pthread_mutex_timedlock");
constinit Next<int (*)(pthread_mutex_t*, clockid_t, const timespec*)> next_clocklock(
    "pthread_mutex_clocklock");
constinit Next<int (*)(pthread_rwlock_t*, const timespec*)> next_timedrdlock(
    "pthread_rwlock_timedrdlock");
constinit Next<int (*)(pthread_rwlock_t*, const timespec*)> next_timedwrlock(
    "pthread_rwlock_timedwrlock");
constinit Next<int (*)(pthread_rwlock_t*, clockid_t, const timespec*)> next_clockrdlock(
    "pthread_rwlock_clockrdlock");
constinit Next<int (*)(pthread_rwlock_t*, clockid_t, const timespec*)> next_clockwrlock(
    "pthread_rwlock_clockwrlock");
constinit Next<int (*)(pthread_spinlock_t*)> next_spin_lock("pthread_spin_lock");
constinit Next<int (*)(pthread_spinlock_t*)> next_spin_trylock("pthread_spin_trylock");
constinit Next<int (*)(pthread_spinlock_t*)> next_spin_unlock("pthread_spin_unlock");
}  // namespace

SMARM_INTERPOSE int pthread_mutex_lock(pthread_mutex_t* m) noexcept {
  return take([m] { return glibc_mutex_lock(m); }, [m] { return glibc_mutex_trylock(m); },
              [m](const timespec& t) { return next_timedlock(m, &t); });
}
SMARM_INTERPOSE int pthread_mutex_trylock(pthread_mutex_t* m) noexcept {
  return held(glibc_mutex_trylock(m));
}
SMARM_INTERPOSE int pthread_mutex_timedlock(pthread_mutex_t* m, const timespec* t) noexcept {
  return take_in_time([m] { return glibc_mutex_trylock(m); },
                      [m](const timespec& u) { return next_timedlock(m, &u); }, CLOCK_REALTIME, t);
}
SMARM_INTERPOSE int pthread_mutex_clocklock(pthread_mutex_t* m, clockid_t c,
                                            const timespec* t) noexcept {
  return take_in_time([m] { return glibc_mutex_trylock(m); },
                      [m, c](const timespec& u) { return next_clocklock(m, c, &u); }, c, t);
}
SMARM_INTERPOSE int pthread_mutex_unlock(pthread_mutex_t* m) noexcept {
  return released(glibc_mutex_unlock(m));
}

SMARM_INTERPOSE int pthread_rwlock_rdlock(pthread_rwlock_t* l) noexcept {
  return take([l] { return glibc_rwlock_rdlock(l); }, [l] { return glibc_rwlock_tryrdlock(l); },
              [l](const timespec& t) { return next_timedrdlock(l, &t); });
}
SMARM_INTERPOSE int pthread_rwlock_wrlock(pthread_rwlock_t* l) noexcept {
  return take([l] { return glibc_rwlock_wrlock(l); }, [l] { return glibc_rwlock_trywrlock(l); },
              [l](const timespec& t) { return next_timedwrlock(l, &t); });
}
SMARM_INTERPOSE int pthread_rwlock_tryrdlock(pthread_rwlock_t* l) noexcept {
  return held(glibc_rwlock_tryrdlock(l));
}
SMARM_INTERPOSE int pthread_rwlock_trywrlock(pthread_rwlock_t* l) noexcept {
  return held(glibc_rwlock_trywrlock(l));
}
SMARM_INTERPOSE int pthread_rwlock_timedrdlock(pthread_rwlock_t* l, const timespec* t) noexcept {
  return take_in_time([l] { return glibc_rwlock_tryrdlock(l); },
                      [l](const timespec& u) { return next_timedrdlock(l, &u); }, CLOCK_REALTIME,
                      t);
}
SMARM_INTERPOSE int pthread_rwlock_timedwrlock(pthread_rwlock_t* l, const timespec* t) noexcept {
  return take_in_time([l] { return glibc_rwlock_trywrlock(l); },
                      [l](const timespec& u) { return next_timedwrlock(l, &u); }, CLOCK_REALTIME,
                      t);
}
SMARM_INTERPOSE int pthread_rwlock_clockrdlock(pthread_rwlock_t* l, clockid_t c,
                                               const timespec* t) noexcept {
  return take_in_time([l] { return glibc_rwlock_tryrdlock(l); },
                      [l, c](const timespec& u) { return next_clockrdlock(l, c, &u); }, c, t);
}
SMARM_INTERPOSE int pthread_rwlock_clockwrlock(pthread_rwlock_t* l, clockid_t c,
                                               const timespec* t) noexcept {
  return take_in_time([l] { return glibc_rwlock_trywrlock(l); },
                      [l, c](const timespec& u) { return next_clockwrlock(l, c, &u); }, c, t);
}
SMARM_INTERPOSE int pthread_rwlock_unlock(pthread_rwlock_t* l) noexcept {
  return released(glibc_rwlock_unlock(l));
}

SMARM_INTERPOSE int pthread_spin_lock(pthread_spinlock_t* l) noexcept {
  return take([l] { return next_spin_lock(l); }, [l] { return next_spin_trylock(l); },
              [](const timespec&) {  // its holder may want this CPU
                ::sched_yield();
                return ETIMEDOUT;
              });
}
SMARM_INTERPOSE int pthread_spin_trylock(pthread_spinlock_t* l) noexcept {
  return held(next_spin_trylock(l));
}
SMARM_INTERPOSE int pthread_spin_unlock(pthread_spinlock_t* l) noexcept {
  return released(next_spin_unlock(l));
}

SMARM_INTERPOSE int pthread_once(pthread_once_t* once, void (*routine)()) {
  struct NoSwitch {  // the routine may throw
    NoSwitch() { smarm::no_preempt_enter(); }
    ~NoSwitch() { smarm::no_preempt_leave(); }
  } no_switch;
  return glibc_once(once, routine);
}

// ---- C11: by pthreads, as glibc does it inside ----

namespace {

pthread_mutex_t* pthread_of(mtx_t* m) { return reinterpret_cast<pthread_mutex_t*>(m); }
static_assert(sizeof(mtx_t) <= sizeof(pthread_mutex_t) &&
              sizeof(once_flag) == sizeof(pthread_once_t));

int thrd_result(int error) {
  switch (error) {
    case 0: return thrd_success;
    case ENOMEM: return thrd_nomem;
    case ETIMEDOUT: return thrd_timedout;
    case EBUSY: return thrd_busy;
    default: return thrd_error;
  }
}

}  // namespace

SMARM_INTERPOSE int mtx_lock(mtx_t* m) { return thrd_result(pthread_mutex_lock(pthread_of(m))); }
SMARM_INTERPOSE int mtx_trylock(mtx_t* m) {
  return thrd_result(pthread_mutex_trylock(pthread_of(m)));
}
SMARM_INTERPOSE int mtx_timedlock(mtx_t* m, const timespec* t) {
  return thrd_result(pthread_mutex_timedlock(pthread_of(m), t));
}
SMARM_INTERPOSE int mtx_unlock(mtx_t* m) {
  return thrd_result(pthread_mutex_unlock(pthread_of(m)));
}
SMARM_INTERPOSE void call_once(once_flag* flag, void (*routine)()) {
  pthread_once(reinterpret_cast<pthread_once_t*>(flag), routine);
}

// ---- function-local statics ----

namespace {
constinit Next<int (*)(abi::__guard*)> next_guard_acquire("__cxa_guard_acquire");
constinit Next<void (*)(abi::__guard*)> next_guard_release("__cxa_guard_release");
constinit Next<void (*)(abi::__guard*)> next_guard_abort("__cxa_guard_abort");
}  // namespace

namespace __cxxabiv1 {

SMARM_INTERPOSE int __cxa_guard_acquire(__guard* g) noexcept(false) {
  const int initialise = next_guard_acquire(g);
  if (initialise) smarm::no_preempt_enter();
  return initialise;
}
SMARM_INTERPOSE void __cxa_guard_release(__guard* g) noexcept {
  next_guard_release(g);
  smarm::no_preempt_leave();
}
SMARM_INTERPOSE void __cxa_guard_abort(__guard* g) noexcept {
  next_guard_abort(g);
  smarm::no_preempt_leave();
}

}  // namespace __cxxabiv1
