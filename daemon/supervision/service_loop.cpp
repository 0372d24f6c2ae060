#include "daemon/supervision/service_loop.hpp"

#include "daemon/log/service_thread.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace smarmd {

namespace {

using std::chrono::milliseconds;

// How long the end waits for a service manager that is behind.
constexpr milliseconds kLastNotes{1000};

sigset_t service_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (int s : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, s);
  return set;
}

std::optional<milliseconds> watchdog_interval_of_environment() {
  std::uint64_t usec = 0;
  if (::sd_watchdog_enabled(0, &usec) <= 0) return std::nullopt;
  return std::max(milliseconds(1),
                  std::chrono::duration_cast<milliseconds>(std::chrono::microseconds(usec)) / 2);
}

}  // namespace

void block_service_signals() {
  const sigset_t set = service_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

std::expected<std::unique_ptr<ServiceLoop>, std::string> ServiceLoop::start(
    ServiceCallbacks callbacks) {
  const sigset_t set = service_signals();
  plugin::UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return std::unexpected(std::string("signalfd: ") + std::strerror(errno));
  plugin::UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return std::unexpected(std::string("eventfd: ") + std::strerror(errno));
  std::unique_ptr<ServiceLoop> loop(
      new ServiceLoop(std::move(callbacks), std::move(signals), std::move(wake)));
  loop->thread_ = start_service_thread(
      "smarmd-service", [l = loop.get()](std::stop_token token) { l->run(std::move(token)); });
  return loop;
}

ServiceLoop::ServiceLoop(ServiceCallbacks callbacks, plugin::UniqueFd signals,
                         plugin::UniqueFd wake)
    : callbacks_(std::move(callbacks)),
      signals_(std::move(signals)),
      wake_(std::move(wake)),
      watchdog_(watchdog_interval_of_environment()),
      notify_(std::getenv("NOTIFY_SOCKET")) {}

ServiceLoop::~ServiceLoop() {
  thread_.request_stop();
  post(new Post{});
  if (thread_.joinable()) thread_.join();
}

void ServiceLoop::notify(std::string message) {
  post(new Post{.message = std::move(message), .end_by = {}});
}

void ServiceLoop::end_by(milliseconds from_now) {
  post(new Post{.message = {}, .end_by = Clock::now() + from_now});
}

void ServiceLoop::post(Post* node) {
  posts_.push(node);
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one,
                 sizeof one);  // EAGAIN: the counter is full, so the loop is awake anyway
}

void ServiceLoop::take_posts() {
  for (Post* post = posts_.take_all(); post;) {
    const std::unique_ptr<Post> owner(post);
    post = post->next;
    if (!owner->message.empty()) notify_.push(std::move(owner->message));
    if (owner->end_by) end_by_ = end_by_ ? std::min(*end_by_, *owner->end_by) : *owner->end_by;
  }
}

void ServiceLoop::take_signals() {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGHUP) {
      callbacks_.reload();
    } else if (std::exchange(stop_seen_, true)) {
      callbacks_.kill(*this);
    } else {
      callbacks_.stop(*this);
    }
  }
}

void ServiceLoop::feed_watchdog(Clock::time_point now) {
  if (!watchdog_ || now < next_feed_) return;
  next_feed_ = now + *watchdog_;
  const std::uint64_t beat = callbacks_.heartbeat();
  if (std::exchange(last_beat_, beat) != beat) notify_.push("WATCHDOG=1");
}

// A manager that reads gets all of it; one that does not must not hold up the end.
void ServiceLoop::send_last_notes() {
  const auto end = Clock::now() + kLastNotes;
  while (notify_.waiting() && Clock::now() < end) {
    pollfd writable{notify_.fd(), POLLOUT, 0};
    (void)::poll(&writable, 1, 50);
    notify_.send_waiting();
  }
}

int ServiceLoop::poll_timeout(Clock::time_point now) const {
  std::optional<Clock::time_point> next = end_by_;
  if (watchdog_) next = next ? std::min(*next, next_feed_) : next_feed_;
  if (!next) return -1;
  const auto ms = std::chrono::ceil<milliseconds>(*next - now).count();
  return static_cast<int>(std::clamp<milliseconds::rep>(ms, 0, 3'600'000));
}

void ServiceLoop::run(std::stop_token token) {
  while (!token.stop_requested()) {
    pollfd fds[] = {{signals_.get(), POLLIN, 0},
                    {wake_.get(), POLLIN, 0},
                    {notify_.waiting() ? notify_.fd() : -1, POLLOUT, 0}};
    (void)::poll(fds, 3, poll_timeout(Clock::now()));
    std::uint64_t count = 0;
    if (fds[1].revents) (void)!::read(wake_.get(), &count, sizeof count);
    if (fds[2].revents) notify_.send_waiting();
    take_posts();
    take_signals();
    const auto now = Clock::now();
    feed_watchdog(now);
    if (end_by_ && now >= *end_by_) {
      end_by_.reset();
      callbacks_.overdue();
    }
  }
  take_posts();
  send_last_notes();
}

}  // namespace smarmd
