#include "daemon/plugin/directory_watch.hpp"

#include "daemon/plugin/plugin_files.hpp"
#include "daemon/plugin/settling.hpp"
#include "daemon/plugin/text.hpp"
#include "daemon/plugin/unique_fd.hpp"
#include "daemon/plugin/watch_set.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace smarmd::plugin {

namespace fs = std::filesystem;
using Clock = Settling::Clock;

class DirectoryWatch::Impl {
 public:
  Impl(std::vector<fs::path> directories, OnChange on_change, WatchOptions options, UniqueFd wake)
      : directories_(std::move(directories)),
        on_change_(std::move(on_change)),
        options_(options),
        wake_(std::move(wake)),
        settling_(options.settle, options.settle_limit) {}
  ~Impl() {
    stopping_.store(true, std::memory_order_release);  // read by run() after the eventfd woke it
    wake();
  }

  std::expected<void, std::string> start();
  std::vector<fs::path> scan() const;
  std::vector<std::string> problems() const;
  void rescan() {
    rescan_.store(true, std::memory_order_release);  // taken by run() after the eventfd woke it
    wake();
  }

 private:
  void run();
  void wait();
  void rebuild();
  void publish_problems(std::vector<std::string> problems);
  void deliver(Clock::time_point now);
  void wake() const;

  // Constant after construction.
  const std::vector<fs::path> directories_;
  const OnChange on_change_;
  const WatchOptions options_;
  const UniqueFd wake_;

  // The watch's thread only (start() runs before it).
  std::optional<WatchSet> watches_;
  Settling settling_;
  FileSnapshot known_;
  std::optional<Clock::time_point> next_look_;  // set while a directory is not watched

  // Shared.
  std::atomic<bool> stopping_{false}, rescan_{false};
  mutable std::mutex mutex_;
  std::vector<std::string> problems_;  // by mutex_

  std::jthread thread_;  // last: it is joined before anything it uses goes
};

std::expected<void, std::string> DirectoryWatch::Impl::start() {
  auto watches = WatchSet::build(directories_);
  if (!watches) return std::unexpected(std::move(watches.error()));
  publish_problems(watches->problems());
  watches_ = std::move(*watches);
  known_ = take_snapshot(directories_);
  sigset_t all, before;  // the new thread inherits the mask: signals are for others
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::jthread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return {};
}

void DirectoryWatch::Impl::run() {
  ::pthread_setname_np(::pthread_self(), "smarmd-watch");
  for (;;) {
    wait();
    if (stopping_.load(std::memory_order_acquire)) return;
    bool stale = rescan_.exchange(false, std::memory_order_acquire);
    if (watches_) {
      const auto changes = watches_->read();
      for (const fs::path& file : changes.files) settling_.touch(file, Clock::now());
      stale |= changes.stale;
    }
    if (stale || (next_look_ && *next_look_ <= Clock::now())) rebuild();
    deliver(Clock::now());
  }
}

void DirectoryWatch::Impl::wait() {
  auto until = settling_.next();
  if (next_look_) until = until ? std::min(*until, *next_look_) : *next_look_;
  int timeout = -1;
  if (until) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*until - Clock::now()).count();
    timeout = static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
  }
  pollfd watched[] = {{wake_.get(), POLLIN, 0}, {watches_ ? watches_->fd() : -1, POLLIN, 0}};
  if (::poll(watched, 2, timeout) <= 0) return;
  if (watched[0].revents) {
    std::uint64_t count = 0;
    (void)!::read(wake_.get(), &count, sizeof count);
  }
}

// New watches first, then a comparison with what is known: what changes in between is seen twice
// rather than never.
void DirectoryWatch::Impl::rebuild() {
  watches_.reset();
  if (auto watches = WatchSet::build(directories_)) {
    publish_problems(watches->problems());
    watches_ = std::move(*watches);
  } else {
    publish_problems({std::move(watches.error())});
  }
  const auto now = Clock::now();
  const FileSnapshot found = take_snapshot(directories_);
  for (const auto& [path, signature] : found) {
    const auto before = known_.find(path);
    if (before == known_.end() || before->second != signature) settling_.touch(path, now);
  }
  for (const auto& [path, signature] : known_) {
    if (!found.contains(path)) settling_.touch(path, now);
  }
}

void DirectoryWatch::Impl::publish_problems(std::vector<std::string> problems) {
  next_look_.reset();
  if (!problems.empty()) next_look_ = Clock::now() + options_.retry;
  const std::lock_guard lock(mutex_);
  problems_ = std::move(problems);
}

void DirectoryWatch::Impl::deliver(Clock::time_point now) {
  std::vector<Event> events;
  for (const fs::path& path : settling_.take(now)) {
    if (const auto signature = signature_of(path)) {
      known_[path] = *signature;
      events.push_back({path, Event::Kind::present});
    } else if (known_.erase(path)) {
      events.push_back({path, Event::Kind::gone});
    }
  }
  if (!events.empty()) on_change_(std::move(events));
}

void DirectoryWatch::Impl::wake() const {
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);  // can only fail when it is already readable
}

std::vector<fs::path> DirectoryWatch::Impl::scan() const {
  std::vector<fs::path> files;
  for (const fs::path& directory : directories_) {
    for (fs::path& file : plugin_files(directory)) files.push_back(std::move(file));
  }
  return files;
}

std::vector<std::string> DirectoryWatch::Impl::problems() const {
  const std::lock_guard lock(mutex_);
  return problems_;
}

DirectoryWatch::DirectoryWatch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DirectoryWatch::~DirectoryWatch() = default;

std::expected<std::unique_ptr<DirectoryWatch>, std::string> DirectoryWatch::start(
    std::vector<fs::path> directories, OnChange on_change, WatchOptions options) {
  std::vector<fs::path> absolute;
  for (const fs::path& given : directories) {
    std::error_code error;
    fs::path path = fs::absolute(given, error).lexically_normal();
    if (!path.has_filename() && path.has_relative_path())
      path = path.parent_path();  // "/a/b/" is "/a/b"
    if (std::find(absolute.begin(), absolute.end(), path) == absolute.end())
      absolute.push_back(std::move(path));
  }
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake)
    return std::unexpected("the plugin directories cannot be watched: eventfd: " +
                           errno_text(errno));
  auto impl =
      std::make_unique<Impl>(std::move(absolute), std::move(on_change), options, std::move(wake));
  if (auto ok = impl->start(); !ok) return std::unexpected(std::move(ok.error()));
  return std::unique_ptr<DirectoryWatch>(new DirectoryWatch(std::move(impl)));
}

std::vector<fs::path> DirectoryWatch::scan() const { return impl_->scan(); }
std::vector<std::string> DirectoryWatch::problems() const { return impl_->problems(); }
void DirectoryWatch::rescan() { impl_->rescan(); }

}  // namespace smarmd::plugin
