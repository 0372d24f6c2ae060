// Interposed locks: while an actor holds a pthread mutex or rwlock, runs a pthread_once routine or
// initialises a function-local static, an allocation must not switch it out. Another actor of the
// same worker that wants the lock would block the thread that the holder needs: a deadlock. So each
// of these raises the actor's no_preempt count.
//
// The executable defines the names, libraries and plugins bind to them. Behind them are glibc's own
// functions, reached by their internal names: looking them up at run time would come too late,
// since locks are taken before main. Under a sanitizer the next definition is its interceptor,
// which is looked up at the first call. A lock taken by one actor and released by another, or by a
// thread, cannot push a count below zero.

#include "runtime/base/sanitizer.hpp"
#include "runtime/sched/preempt.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <pthread.h>
#include <time.h>

#include <atomic>
#include <cerrno>

#define SMARM_INTERPOSE extern "C" __attribute__((visibility("default")))

namespace {

// The next definition of a name, looked up once. Two threads may look at the same time: they find
// the same.
template <class F>
class Next {
 public:
  explicit constexpr Next(const char* name) : name_(name) {}
  template <class... Args>
  auto operator()(Args... args) {
    F f = function_.load(std::memory_order_acquire);
    if (!f) {
      f = reinterpret_cast<F>(::dlsym(RTLD_NEXT, name_));
      function_.store(f, std::memory_order_release);
    }
    return f(args...);
  }

 private:
  const char* name_;
  std::atomic<F> function_{nullptr};
};

// Raises the count when the lock was taken.
inline int held(int result) {
  if (result == 0 || result == EOWNERDEAD) smarm::no_preempt_enter();
  return result;
}
inline int released(int result) {
  if (result == 0) smarm::no_preempt_leave();
  return result;
}

}  // namespace

// ---- mutexes, rwlocks, once ----

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
}  // namespace

SMARM_INTERPOSE int pthread_mutex_lock(pthread_mutex_t* m) noexcept {
  return held(glibc_mutex_lock(m));
}
SMARM_INTERPOSE int pthread_mutex_trylock(pthread_mutex_t* m) noexcept {
  return held(glibc_mutex_trylock(m));
}
SMARM_INTERPOSE int pthread_mutex_timedlock(pthread_mutex_t* m, const timespec* t) noexcept {
  return held(next_timedlock(m, t));
}
SMARM_INTERPOSE int pthread_mutex_clocklock(pthread_mutex_t* m, clockid_t c,
                                            const timespec* t) noexcept {
  return held(next_clocklock(m, c, t));
}
SMARM_INTERPOSE int pthread_mutex_unlock(pthread_mutex_t* m) noexcept {
  return released(glibc_mutex_unlock(m));
}

SMARM_INTERPOSE int pthread_rwlock_rdlock(pthread_rwlock_t* l) noexcept {
  return held(glibc_rwlock_rdlock(l));
}
SMARM_INTERPOSE int pthread_rwlock_wrlock(pthread_rwlock_t* l) noexcept {
  return held(glibc_rwlock_wrlock(l));
}
SMARM_INTERPOSE int pthread_rwlock_tryrdlock(pthread_rwlock_t* l) noexcept {
  return held(glibc_rwlock_tryrdlock(l));
}
SMARM_INTERPOSE int pthread_rwlock_trywrlock(pthread_rwlock_t* l) noexcept {
  return held(glibc_rwlock_trywrlock(l));
}
SMARM_INTERPOSE int pthread_rwlock_timedrdlock(pthread_rwlock_t* l, const timespec* t) noexcept {
  return held(next_timedrdlock(l, t));
}
SMARM_INTERPOSE int pthread_rwlock_timedwrlock(pthread_rwlock_t* l, const timespec* t) noexcept {
  return held(next_timedwrlock(l, t));
}
SMARM_INTERPOSE int pthread_rwlock_clockrdlock(pthread_rwlock_t* l, clockid_t c,
                                               const timespec* t) noexcept {
  return held(next_clockrdlock(l, c, t));
}
SMARM_INTERPOSE int pthread_rwlock_clockwrlock(pthread_rwlock_t* l, clockid_t c,
                                               const timespec* t) noexcept {
  return held(next_clockwrlock(l, c, t));
}
SMARM_INTERPOSE int pthread_rwlock_unlock(pthread_rwlock_t* l) noexcept {
  return released(glibc_rwlock_unlock(l));
}

SMARM_INTERPOSE int pthread_once(pthread_once_t* once, void (*routine)()) {
  struct NoSwitch {  // the routine may throw
    NoSwitch() { smarm::no_preempt_enter(); }
    ~NoSwitch() { smarm::no_preempt_leave(); }
  } no_switch;
  return glibc_once(once, routine);
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
