// A thread of the daemon that is not a worker: named, and closed to every signal but those of its
// own faults, so that SIGTERM and SIGHUP always reach the thread that waits for them.
#pragma once

#include <pthread.h>
#include <csignal>

#include <string>
#include <thread>
#include <utility>

namespace smarmd {

// Blocks signals in the calling thread while it lives; a thread made meanwhile inherits the mask.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS})
      sigdelset(&blocked, fault);
    pthread_sigmask(SIG_SETMASK, &blocked, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

// `name`: at most 15 characters, as the kernel shows it. `run` takes no argument or a
// std::stop_token.
template <typename F>
std::jthread start_service_thread(const std::string& name, F run) {
  SignalsBlocked blocked;
  std::jthread thread(std::move(run));
  pthread_setname_np(thread.native_handle(), name.substr(0, 15).c_str());
  return thread;
}

}  // namespace smarmd
