#include "runtime/io/backend.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace smarm {

namespace {

// 0, SMARM_E_TIMEOUT or an errno. errno is read here and nowhere else: raw.cpp.
[[gnu::noinline, gnu::noipa]] int look(int fd, Direction direction) {
  pollfd p{fd, static_cast<short>(direction == kReadable ? POLLIN : POLLOUT), 0};
  const int n = ::poll(&p, 1, 0);
  if (n > 0) return p.revents & POLLNVAL ? EBADF : 0;
  return n == 0 ? SMARM_E_TIMEOUT : errno;
}

constexpr std::int64_t kLongestNap = 50'000'000;  // ns

}  // namespace

int Naps::take(std::uint64_t deadline) {
  const std::uint64_t now = current_worker()->runtime.clock().now_ns();
  if (now >= deadline) return SMARM_E_TIMEOUT;
  const std::int64_t nap = std::exchange(next_, std::min(2 * next_, kLongestNap));
  const std::uint64_t left = deadline - now;
  return sleep_current_actor(*current_actor(), left < static_cast<std::uint64_t>(nap)
                                                   ? static_cast<std::int64_t>(left)
                                                   : nap);
}

int FalseAlarms::pause(int fd, Direction direction, std::uint64_t deadline) {
  if (std::exchange(first_, false)) return 0;
  if (look(fd, direction) != 0) {  // somebody else was faster
    alarms_ = 0;
    naps_ = Naps();
    return 0;
  }
  return ++alarms_ <= kFew ? 0 : naps_.take(deadline);
}

int IoBackend::wait_raw(int fd, Direction direction, std::int64_t timeout_ns) {
  if (fd < 0) return EBADF;
  if (current_actor()->dying) return ECANCELED;
  if (timeout_ns == 0) return look(fd, direction);
  RuntimeCore& rt = current_worker()->runtime;
  const std::uint64_t deadline =
      timeout_ns < 0 ? kNever : deadline_after(rt.clock().now_ns(), timeout_ns);
  return wait_until_ready(fd, direction, deadline);
}

}  // namespace smarm
