// ServiceLoop: the thread that talks to whoever runs the daemon. Signals come in, sd_notify
// messages go out, and it sees to it that the process ends.
//
// It never waits for an actor or for the service manager, so it answers when every worker is
// wedged: the watchdog is fed only while the supervisor's heartbeat moves, and a shutdown that
// overruns its time ends the process all the same. Threads: block_service_signals() once on the
// main thread before any other thread starts; notify() and end_by() from any thread or actor.
#pragma once

#include "daemon/log/mpsc_list.hpp"
#include "daemon/plugin/unique_fd.hpp"
#include "daemon/supervision/notify_socket.hpp"

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

namespace smarmd {

// SIGTERM, SIGINT and SIGHUP wait for the loop.
void block_service_signals();

class ServiceLoop;

struct ServiceCallbacks {  // all called by the loop's thread, perhaps before start() has returned;
                           // none may wait
  std::function<void(ServiceLoop&)> stop;  // the first SIGTERM or SIGINT
  std::function<void(ServiceLoop&)> kill;  // every further one
  std::function<void()> reload;            // SIGHUP
  std::function<std::uint64_t()> heartbeat;
  std::function<void()> overdue;  // the time of end_by() is over: ends the process
};

class ServiceLoop {
 public:
  // The error is one line.
  [[nodiscard]] static std::expected<std::unique_ptr<ServiceLoop>, std::string> start(
      ServiceCallbacks callbacks);
  ServiceLoop(const ServiceLoop&) = delete;
  ServiceLoop& operator=(const ServiceLoop&) = delete;
  // Sends what is queued, for a second at most, then ends the thread.
  ~ServiceLoop();

  // Queues an sd_notify message ("READY=1\nSTATUS=..."). Never waits.
  void notify(std::string message);
  // The process must end within that time from now; a later call can only bring the limit nearer.
  void end_by(std::chrono::milliseconds from_now);
  // Half the service manager's watchdog time; nullopt when it does not watch.
  std::optional<std::chrono::milliseconds> watchdog_interval() const { return watchdog_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Post {
    Post* next = nullptr;
    std::string message;
    std::optional<Clock::time_point> end_by;
  };

  ServiceLoop(ServiceCallbacks callbacks, plugin::UniqueFd signals, plugin::UniqueFd wake);
  void run(std::stop_token token);
  void post(Post* node);
  void take_posts();
  void take_signals();
  void feed_watchdog(Clock::time_point now);
  void send_last_notes();
  int poll_timeout(Clock::time_point now) const;

  const ServiceCallbacks callbacks_;
  const plugin::UniqueFd signals_, wake_;
  const std::optional<std::chrono::milliseconds> watchdog_;
  MpscList<Post> posts_;
  // The loop's thread only:
  NotifySocket notify_;
  bool stop_seen_ = false;
  std::uint64_t last_beat_ = 0;
  Clock::time_point next_feed_{};
  std::optional<Clock::time_point> end_by_;
  std::jthread thread_;
};

}  // namespace smarmd
