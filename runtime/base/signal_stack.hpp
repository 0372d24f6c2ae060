// A stack for the signal handlers of one thread. A fault may come on an actor's stack, which is
// small and may have no room for a handler's frame, or be the cause itself.
#pragma once

#include <signal.h>

namespace smarm {

// For the calling thread, from construction to destruction, which are on the same thread. Nothing
// when the thread has a large one already.
class SignalStack {
 public:
  SignalStack();
  ~SignalStack();
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  void* memory_ = nullptr;
  stack_t before_{};
};

}  // namespace smarm
