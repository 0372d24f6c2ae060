#include "runtime/fault/signal_guard.hpp"

#include "runtime/base/next_definition.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/fault/culprit.hpp"
#include "runtime/fault/notice.hpp"
#include "runtime/sched/current.hpp"

#include <string.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <iterator>
#include <mutex>

namespace smarm {

namespace {

using Handler = void (*)(int);

constinit Next<int (*)(int, const struct sigaction*, struct sigaction*)> libc_sigaction(
    "sigaction");
constinit Next<Handler (*)(int, Handler)> libc_signal("signal"), libc_sysv_signal("sysv_signal"),
    libc_sigset("sigset");
constinit Next<int (*)(int)> libc_sigignore("sigignore"), libc_sighold("sighold"),
    libc_sigrelse("sigrelse");
constinit Next<int (*)(int, int)> libc_siginterrupt("siginterrupt");
constinit Next<int (*)(int, const sigset_t*, sigset_t*)> libc_sigprocmask("sigprocmask"),
    libc_pthread_sigmask("pthread_sigmask");
constinit Next<int (*)(const stack_t*, stack_t*)> libc_sigaltstack("sigaltstack");

constexpr int kGuarded[] = {SIGSEGV, SIGBUS, SIGFPE,  SIGILL,  SIGURG, SIGTERM,
                            SIGINT,  SIGHUP, SIGCHLD, SIGPIPE, SIGABRT};

bool is_guarded(int signal) {
  for (int s : kGuarded) {
    if (s == signal) return true;
  }
  return false;
}

// A sanitizer's handlers and interceptors stand in the place of ours.
constexpr bool kGuards = !SMARM_ASAN && !SMARM_TSAN;

std::mutex mutex;  // rank: signals
std::array<struct sigaction, std::size(kGuarded)> wanted{};
bool guarding = false;

// Whether that call of a plugin's must fail. Not told in a signal handler: libc's tables may be
// half-way; but a plugin's handler that sets handlers is not expected to be.
bool refuses(const char* name, int signal, const void* caller) {
  if (!kGuards || !is_guarded(signal) || !called_by_plugin(caller)) return false;
  char text[160], subject[64];
  const char* abbreviation = ::sigabbrev_np(signal);
  std::snprintf(subject, sizeof subject, "%s %d", name, signal);
  std::snprintf(text, sizeof text, "%s of SIG%s was refused: that signal is the host's", name,
                abbreviation ? abbreviation : "?");
  tell(SMARM_NOTICE_REFUSED, caller, subject, text);
  errno = EINVAL;
  return true;
}

// The host has set it anew. Under the lock.
void keep(int signal) {
  if (!guarding) return;
  for (std::size_t i = 0; i < std::size(kGuarded); ++i) {
    if (kGuarded[i] == signal) libc_sigaction(signal, nullptr, &wanted[i]);
  }
}

template <class Result, class Call>
Result change(const char* name, int signal, const void* caller, Result refused, Call call) {
  if (refuses(name, signal, caller)) return refused;
  if (!kGuards || !is_guarded(signal) || !is_host()) return call();
  const std::lock_guard lock(mutex);  // restore_signals() must not come between
  const auto result = call();
  keep(signal);
  return result;
}

// The set in place of the one asked for: what is guarded stays as it is on this thread.
[[maybe_unused]] const sigset_t* without_guarded(int how, const sigset_t* set, sigset_t& own,
                                                 const void* caller) {
  if (!kGuards || !set || !called_by_plugin(caller)) return set;
  sigset_t now;
  if (libc_pthread_sigmask(SIG_SETMASK, nullptr, &now) != 0) return set;
  own = *set;
  for (int s : kGuarded) {
    if (how == SIG_SETMASK && ::sigismember(&now, s) == 1) {
      ::sigaddset(&own, s);
    } else {
      ::sigdelset(&own, s);
    }
  }
  return &own;
}

}  // namespace

void learn_signals() {
  libc_sigaction.function();
  libc_signal.function();
  libc_sysv_signal.function();
  libc_sigset.function();
  libc_sigignore.function();
  libc_sighold.function();
  libc_sigrelse.function();
  libc_siginterrupt.function();
  libc_sigprocmask.function();
  libc_pthread_sigmask.function();
  libc_sigaltstack.function();
}

bool is_used_by_host(int signal) { return signal == SIGURG || (is_host() && is_guarded(signal)); }

int set_action(int signal, const struct sigaction* action, struct sigaction* before) noexcept {
  return libc_sigaction(signal, action, before);
}

void guard_signals() {
  const std::lock_guard lock(mutex);
  for (std::size_t i = 0; i < std::size(kGuarded); ++i)
    libc_sigaction(kGuarded[i], nullptr, &wanted[i]);
  guarding = true;
}

void restore_signals() {
  if (!kGuards || !is_host()) return;
  for (std::size_t i = 0; i < std::size(kGuarded); ++i) {
    struct sigaction now{};
    {
      const std::lock_guard lock(mutex);
      if (!guarding || libc_sigaction(kGuarded[i], nullptr, &now) != 0 ||
          (now.sa_sigaction == wanted[i].sa_sigaction && now.sa_flags == wanted[i].sa_flags))
        continue;
      libc_sigaction(kGuarded[i], &wanted[i], nullptr);
    }
    char text[320], place[192] = "the default";
    const char* abbreviation = ::sigabbrev_np(kGuarded[i]);
    const bool known = now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN;
    const auto* code = known ? reinterpret_cast<const void*>(now.sa_sigaction) : nullptr;
    if (known) {
      describe_place(code, place, sizeof place);
    } else if (now.sa_handler == SIG_IGN) {
      std::snprintf(place, sizeof place, "ignoring it");
    }
    std::snprintf(text, sizeof text,
                  "the handler of SIG%s had been replaced behind the host's back, by %s; it was "
                  "put back",
                  abbreviation ? abbreviation : "?", place);
    tell(SMARM_NOTICE_RESTORED, code, "", text);
  }
}

}  // namespace smarm

using namespace smarm;

#if !SMARM_ASAN && !SMARM_TSAN

// Under names of their own: some are macros or have attributes of libc's.
#define SMARM_INSTEAD_OF(type, own, name, ...)                                                \
  extern "C" __attribute__((visibility("default"))) type own(__VA_ARGS__) noexcept asm(name); \
  type own(__VA_ARGS__) noexcept

SMARM_INSTEAD_OF(int, smarm_own_sigaction, "sigaction", int signal, const struct sigaction* action,
                 struct sigaction* before) {
  if (!action) return libc_sigaction(signal, action, before);
  return change("sigaction", signal, __builtin_return_address(0), -1,
                [&] { return libc_sigaction(signal, action, before); });
}
SMARM_INSTEAD_OF(int, smarm_own__sigaction, "__sigaction", int signal,
                 const struct sigaction* action, struct sigaction* before) {
  if (!action) return libc_sigaction(signal, action, before);
  return change("sigaction", signal, __builtin_return_address(0), -1,
                [&] { return libc_sigaction(signal, action, before); });
}

#define SMARM_SETS_HANDLER(own, name, libc)                           \
  SMARM_INSTEAD_OF(Handler, own, name, int signal, Handler handler) { \
    return change(name, signal, __builtin_return_address(0), SIG_ERR, \
                  [&] { return libc(signal, handler); });             \
  }
SMARM_SETS_HANDLER(smarm_own_signal, "signal", libc_signal)
SMARM_SETS_HANDLER(smarm_own_bsd_signal, "bsd_signal", libc_signal)
SMARM_SETS_HANDLER(smarm_own_ssignal, "ssignal", libc_signal)
SMARM_SETS_HANDLER(smarm_own_sysv_signal, "sysv_signal", libc_sysv_signal)
SMARM_SETS_HANDLER(smarm_own__sysv_signal, "__sysv_signal", libc_sysv_signal)
SMARM_SETS_HANDLER(smarm_own_sigset, "sigset", libc_sigset)

#define SMARM_TAKES_SIGNAL(own, name, libc)                                                     \
  SMARM_INSTEAD_OF(int, own, name, int signal) {                                                \
    return change(name, signal, __builtin_return_address(0), -1, [&] { return libc(signal); }); \
  }
SMARM_TAKES_SIGNAL(smarm_own_sigignore, "sigignore", libc_sigignore)
SMARM_TAKES_SIGNAL(smarm_own_sighold, "sighold", libc_sighold)
SMARM_TAKES_SIGNAL(smarm_own_sigrelse, "sigrelse", libc_sigrelse)

SMARM_INSTEAD_OF(int, smarm_own_siginterrupt, "siginterrupt", int signal, int on) {
  return change("siginterrupt", signal, __builtin_return_address(0), -1,
                [&] { return libc_siginterrupt(signal, on); });
}

SMARM_INSTEAD_OF(int, smarm_own_sigprocmask, "sigprocmask", int how, const sigset_t* set,
                 sigset_t* before) {
  sigset_t own;
  return libc_sigprocmask(how, without_guarded(how, set, own, __builtin_return_address(0)), before);
}
SMARM_INSTEAD_OF(int, smarm_own_pthread_sigmask, "pthread_sigmask", int how, const sigset_t* set,
                 sigset_t* before) {
  sigset_t own;
  return libc_pthread_sigmask(how, without_guarded(how, set, own, __builtin_return_address(0)),
                              before);
}

SMARM_INSTEAD_OF(int, smarm_own_sigaltstack, "sigaltstack", const stack_t* stack, stack_t* before) {
  const void* caller = __builtin_return_address(0);
  if (stack && current_worker() && called_by_plugin(caller)) {
    tell(SMARM_NOTICE_REFUSED, caller, "sigaltstack",
         "sigaltstack was refused on a worker: that stack is the runtime's");
    errno = EPERM;
    return -1;
  }
  return libc_sigaltstack(stack, before);
}

#endif
