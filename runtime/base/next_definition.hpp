// The function that a name of ours stands in front of.
#pragma once

#include <dlfcn.h>

#include <atomic>

namespace smarm {

// The next definition of a name, looked up once. Two threads may look at the same time: they find
// the same. dlsym takes the loader's lock: who may be called in a signal handler, or in a forked
// child, looks before.
template <class F>
class Next {
 public:
  explicit constexpr Next(const char* name) : name_(name) {}
  F function() {
    F f = function_.load(std::memory_order_acquire);
    if (!f) {
      f = reinterpret_cast<F>(::dlsym(RTLD_NEXT, name_));
      function_.store(f, std::memory_order_release);
    }
    return f;
  }
  template <class... Args>
  auto operator()(Args... args) {
    return function()(args...);
  }

 private:
  const char* name_;
  std::atomic<F> function_{nullptr};
};

}  // namespace smarm
