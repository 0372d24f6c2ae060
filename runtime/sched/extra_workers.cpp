#include "runtime/sched/extra_workers.hpp"

#include "runtime/base/clock.hpp"
#include "runtime/base/futex.hpp"
#include "runtime/sched/runtime_core.hpp"

#include <algorithm>
#include <system_error>

namespace smarm {

namespace {
constexpr std::uint64_t kSpareTime = 5'000'000'000;  // ns that a thread rests before it ends
}  // namespace

// False: not called for long, or the end.
bool ExtraWorkers::rest(Post& post) {
  Clock& clock = SystemClock::instance();
  const std::uint64_t until = clock.now_ns() + kSpareTime;
  for (;;) {
    // acquire: pairs with call(), which has put the worker on duty.
    std::uint32_t state = post.state.load(std::memory_order_acquire);
    if (state == kOnDuty || state == kEnd) return state == kOnDuty;
    if (state == kSpare && clock.now_ns() >= until) {
      if (post.state.compare_exchange_strong(state, kGone, std::memory_order_relaxed)) return false;
      continue;  // called, or the end: who has done it wakes nobody that does not sleep
    }
    futex_wait(post.state, state, state == kSpare ? until : kNever);
  }
}

void ExtraWorkers::live(Post& post) {
  while (rest(post)) {
    post.worker.run();
    std::uint32_t state = kOnDuty;
    // release: pairs with the acquire in take_spare; the worker has been left as it is.
    post.state.compare_exchange_strong(state, kSpare, std::memory_order_release);
  }
}

bool ExtraWorkers::take_spare(Post& post) {
  std::uint32_t state = kSpare;
  return post.state.compare_exchange_strong(state, kCalled, std::memory_order_acquire);
}

bool ExtraWorkers::start(Post& post) {
  if (post.thread.joinable()) post.thread.join();
  post.state.store(kCalled, std::memory_order_relaxed);
  try {
    post.thread = std::thread(live, std::ref(post));
    return true;
  } catch (const std::system_error&) {
    post.state.store(kGone, std::memory_order_relaxed);
    return false;
  }
}

bool ExtraWorkers::call() {
  const auto found = [&](auto take) {
    return std::find_if(posts_.begin(), posts_.end(), [&](auto& post) { return take(*post); });
  };
  auto post = found([&](Post& p) { return take_spare(p); });
  if (post == posts_.end())
    post = found([](Post& p) { return p.state.load(std::memory_order_relaxed) == kGone; });
  if (post == posts_.end()) {
    if (posts_.size() == kMost) return false;
    posts_.push_back(std::make_unique<Post>(runtime_.add_extra()));
    post = posts_.end() - 1;
  }
  Post& called = **post;
  if (called.state.load(std::memory_order_relaxed) == kGone && !start(called)) return false;
  called.state.store(runtime_.go_on_duty(called.worker) ? kOnDuty : kSpare,
                     std::memory_order_release);
  futex_wake_one(called.state);
  return true;
}

void ExtraWorkers::finish() {
  for (const auto& post : posts_) {
    if (!post->thread.joinable()) continue;
    post->state.store(kEnd, std::memory_order_release);
    futex_wake_one(post->state);
    post->thread.join();
    post->state.store(kGone, std::memory_order_relaxed);
  }
}

}  // namespace smarm
