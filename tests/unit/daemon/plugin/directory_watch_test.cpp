#include "daemon/plugin/directory_watch.hpp"

#include "daemon/plugin/plugin_files.hpp"
#include "tests/unit/daemon/plugin/temp_directory.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

using namespace smarmd::plugin;
using namespace smarmd::plugin::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

// A watch whose events can be waited for.
class Watched {
 public:
  explicit Watched(std::vector<fs::path> directories, WatchOptions options = {.settle = 50ms}) {
    auto watch = DirectoryWatch::start(
        std::move(directories),
        [this](std::vector<Event> events) {
          const std::lock_guard lock(mutex_);
          ++batches_;
          for (Event& event : events) events_.push_back(std::move(event));
          changed_.notify_all();
        },
        options);
    REQUIRE_MESSAGE(watch.has_value(), watch.error());
    watch_ = std::move(*watch);
  }
  DirectoryWatch& watch() { return *watch_; }

  // Waits for the first event about the path that has not been taken yet, and takes all up to it.
  bool saw(const fs::path& path, Event::Kind kind) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 20s, [&] {
      const auto it = std::find_if(events_.begin(), events_.end(), [&](const Event& e) {
        return e.path == path && e.kind == kind;
      });
      if (it == events_.end()) return false;
      events_.erase(events_.begin(), it + 1);
      return true;
    });
  }
  std::vector<Event> all() {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  int batches() {
    const std::lock_guard lock(mutex_);
    return batches_;
  }
  bool present(const fs::path& path) { return saw(path, Event::Kind::present); }
  bool gone(const fs::path& path) { return saw(path, Event::Kind::gone); }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> events_;
  int batches_ = 0;
  std::unique_ptr<DirectoryWatch> watch_;  // last: its thread uses the rest
};

}  // namespace

TEST_CASE("which names are plugin files") {
  CHECK(is_plugin_file_name("a.so"));
  CHECK_FALSE(is_plugin_file_name(".so"));
  CHECK_FALSE(is_plugin_file_name(".a.so"));
  CHECK_FALSE(is_plugin_file_name("a.so.1"));
  CHECK_FALSE(is_plugin_file_name("a.so~"));
  CHECK_FALSE(is_plugin_file_name("README"));
}

TEST_CASE("scan gives the directories in order, each by name") {
  const TempDirectory dir;
  fs::create_directories(dir / "one");
  fs::create_directories(dir / "two" / "sub.so");
  for (const auto name : {"one/b.so", "one/a.so", "one/.c.so", "one/d.txt", "two/a.so"})
    write_file(dir / name, "x");
  fs::create_symlink(dir / "two" / "a.so", dir / "one" / "link.so");
  fs::create_symlink(dir / "nowhere", dir / "one" / "dangling.so");
  Watched watched({dir / "two", dir / "one", dir / "one" / ""});
  CHECK(watched.watch().scan() == std::vector<fs::path>{dir / "two/a.so", dir / "one/a.so",
                                                        dir / "one/b.so", dir / "one/link.so"});
  CHECK(watched.watch().problems().empty());
}

TEST_CASE("a new, a changed, a renamed and a removed file are reported") {
  const TempDirectory dir;
  const auto a = dir / "a.so", b = dir / "b.so";
  write_file(b, "was there before");
  Watched watched({dir.path()});
  write_file(a, "new");
  CHECK(watched.present(a));
  write_file(a, "changed");
  CHECK(watched.present(a));
  fs::rename(a, dir / "c.so");
  CHECK(watched.gone(a));
  CHECK(watched.present(dir / "c.so"));
  fs::remove(b);
  CHECK(watched.gone(b));
  fs::rename(dir / "c.so", dir / "c.off");
  CHECK(watched.gone(dir / "c.so"));
}

TEST_CASE("what is no plugin file is not reported, nor what was there before") {
  const TempDirectory dir;
  write_file(dir / "before.so", "x");
  Watched watched({dir.path()});
  write_file(dir / ".hidden.so", "x");
  write_file(dir / "notes.txt", "x");
  fs::create_directory(dir / "directory.so");
  write_file(dir / "last.so", "x");
  CHECK(watched.present(dir / "last.so"));
  CHECK(watched.all().empty());
  CHECK(watched.batches() == 1);
}

TEST_CASE("a file is reported when it is closed, not while it is written") {
  const TempDirectory dir;
  Watched watched({dir.path()});
  std::ofstream slow(dir / "slow.so");
  slow << "the first half" << std::flush;
  write_file(dir / "other.so", "x");
  CHECK(watched.present(dir / "other.so"));  // a whole settle time has passed
  write_file(dir / "another.so", "x");
  CHECK(watched.present(dir / "another.so"));
  CHECK(watched.all().empty());
  slow << "the second half";
  slow.close();
  CHECK(watched.present(dir / "slow.so"));
}

TEST_CASE("changes in quick succession are one event") {
  const TempDirectory dir;
  const auto a = dir / "a.so";
  Watched watched({dir.path()}, {.settle = 2s, .settle_limit = 60s});
  for (int i = 0; i < 20; ++i) {
    write_file(a, "version " + std::to_string(i));
    if (i % 2) fs::remove(a);
  }
  write_file(a, "the last");
  CHECK(watched.present(a));
  CHECK(watched.all().empty());
  CHECK(watched.batches() == 1);
}

TEST_CASE("a file that came and went within the settle time is none") {
  const TempDirectory dir;
  Watched watched({dir.path()}, {.settle = 2s, .settle_limit = 60s});
  write_file(dir / "brief.so", "x");
  fs::remove(dir / "brief.so");
  write_file(dir / "stays.so", "x");
  CHECK(watched.present(dir / "stays.so"));
  CHECK(watched.all().empty());
  CHECK(watched.batches() == 1);
}

TEST_CASE("links count as soon as they are made") {
  const TempDirectory dir;
  fs::create_directories(dir / "plugins");
  write_file(dir / "real.so", "x");
  Watched watched({dir / "plugins"});
  fs::create_symlink(dir / "real.so", dir / "plugins" / "soft.so");
  CHECK(watched.present(dir / "plugins" / "soft.so"));
  fs::create_hard_link(dir / "real.so", dir / "plugins" / "hard.so");
  CHECK(watched.present(dir / "plugins" / "hard.so"));
}

TEST_CASE("the chmod that a refusal asked for makes the file count again") {
  const TempDirectory dir;
  fs::create_directories(dir / "plugins");
  const auto a = dir / "plugins" / "a.so";
  write_file(a, "x");
  Watched watched({dir / "plugins"});
  REQUIRE(::chmod(a.c_str(), 0600) == 0);
  CHECK(watched.present(a));
  REQUIRE(::chmod((dir / "plugins").c_str(), 0700) == 0);
  CHECK(watched.present(a));
}

TEST_CASE("a directory that does not exist yet is watched for") {
  const TempDirectory dir;
  const auto plugins = dir / "a" / "b" / "plugins";
  Watched watched({plugins}, {.settle = 50ms, .retry = 1h});  // only events help here
  REQUIRE(watched.watch().problems().size() == 1);
  CHECK(watched.watch().problems().front() ==
        plugins.string() + ": does not exist yet: it is watched for until it appears");
  CHECK(watched.watch().scan().empty());
  fs::create_directories(plugins);
  write_file(plugins / "a.so", "x");
  CHECK(watched.present(plugins / "a.so"));
  CHECK(watched.watch().problems().empty());
}

TEST_CASE("a directory that arrives with files in it, by rename") {
  const TempDirectory dir;
  fs::create_directories(dir / "staging" / "plugins");
  write_file(dir / "staging" / "plugins" / "a.so", "x");
  Watched watched({dir / "live" / "plugins"}, {.settle = 50ms, .retry = 1h});
  fs::rename(dir / "staging", dir / "live");
  CHECK(watched.present(dir / "live/plugins/a.so"));
}

TEST_CASE("a directory that is removed and made again") {
  const TempDirectory dir;
  const auto plugins = dir / "plugins";
  fs::create_directories(plugins);
  write_file(plugins / "a.so", "x");
  Watched watched({plugins}, {.settle = 50ms, .retry = 1h});
  for (int round = 0; round < 3; ++round) {
    fs::remove_all(plugins);
    CHECK(watched.gone(plugins / "a.so"));
    fs::create_directories(plugins);
    write_file(plugins / "a.so", "again");
    CHECK(watched.present(plugins / "a.so"));
  }
}

TEST_CASE("a directory that is swapped for another: by rename, and by turning a link") {
  const TempDirectory dir;
  fs::create_directories(dir / "v1");
  fs::create_directories(dir / "v2");
  write_file(dir / "v1" / "a.so", "x");
  write_file(dir / "v2" / "b.so", "x");
  fs::create_directory_symlink(dir / "v1", dir / "current");
  Watched watched({dir / "current"}, {.settle = 50ms, .retry = 1h});
  fs::create_directory_symlink(dir / "v2", dir / "next");
  fs::rename(dir / "next", dir / "current");
  CHECK(watched.gone(dir / "current/a.so"));
  CHECK(watched.present(dir / "current/b.so"));

  Watched by_name({dir / "v1"}, {.settle = 50ms, .retry = 1h});
  fs::rename(dir / "v1", dir / "old");
  fs::rename(dir / "v2", dir / "v1");
  CHECK(by_name.gone(dir / "v1/a.so"));
  CHECK(by_name.present(dir / "v1/b.so"));
}

TEST_CASE("what inotify cannot see is found by the look again, and by rescan") {
  const TempDirectory dir;
  fs::create_directories(dir / "up" / "plugins");
  fs::create_directories(dir / "links");
  fs::create_directory_symlink(
      dir / "target", dir / "links" / "plugins");  // dangling: nobody watches the target's parent
  Watched dangling({dir / "links" / "plugins"}, {.settle = 50ms, .retry = 100ms});
  CHECK(dangling.watch().problems().size() == 1);
  fs::create_directories(dir / "target");
  write_file(dir / "target" / "a.so", "x");
  CHECK(dangling.present(dir / "links/plugins/a.so"));

  Watched moved({dir / "up" / "plugins"});
  fs::create_directories(dir / "other" / "plugins");
  write_file(dir / "other/plugins/b.so", "x");
  fs::rename(dir / "up", dir / "gone");  // an ancestor, not the parent's entry
  fs::rename(dir / "other", dir / "up");
  moved.watch().rescan();
  CHECK(moved.present(dir / "up/plugins/b.so"));
}

TEST_CASE("a file in the place of the directory is a problem, not an end") {
  const TempDirectory dir;
  const auto plugins = dir / "plugins";
  write_file(plugins, "I am a file");
  Watched watched({plugins}, {.settle = 50ms, .retry = 1h});
  REQUIRE(watched.watch().problems().size() == 1);
  CHECK(contains(watched.watch().problems().front(), "cannot be watched: Not a directory"));
  fs::remove(plugins);
  fs::create_directories(plugins);
  write_file(plugins / "a.so", "x");
  CHECK(watched.present(plugins / "a.so"));
}

TEST_CASE("one directory inside another: both are watched") {
  const TempDirectory dir;
  fs::create_directories(dir / "outer" / "inner");
  Watched watched({dir / "outer", dir / "outer" / "inner"}, {.settle = 50ms, .retry = 1h});
  write_file(dir / "outer" / "a.so", "x");
  CHECK(watched.present(dir / "outer/a.so"));
  write_file(dir / "outer/inner/b.so", "x");
  CHECK(watched.present(dir / "outer/inner/b.so"));
  fs::remove_all(dir / "outer/inner");
  CHECK(watched.gone(dir / "outer/inner/b.so"));
}

TEST_CASE("events that the kernel dropped are made up for by a full look") {
  const TempDirectory dir;
  std::mutex gate;  // held: the watch's thread stands in its callback, and the queue runs over
  std::mutex mutex;
  std::condition_variable changed;
  bool last_seen = false, entered = false;
  const auto last = dir / "last.so";
  {
    std::unique_lock closed(gate);
    auto watch = DirectoryWatch::start({dir.path()},
                                       [&](std::vector<Event> events) {
                                         {
                                           const std::lock_guard lock(mutex);
                                           entered = true;
                                           for (const Event& event : events)
                                             last_seen |= event.path == last;
                                         }
                                         changed.notify_all();
                                         const std::lock_guard wait(gate);
                                       },
                                       {.settle = 10ms, .retry = 1h});
    REQUIRE_MESSAGE(watch.has_value(), watch.error());
    write_file(dir / "first.so", "x");
    {
      std::unique_lock lock(mutex);
      REQUIRE(changed.wait_for(lock, 20s, [&] { return entered; }));
    }
    std::size_t queue_limit = 0;
    std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> queue_limit;
    REQUIRE(queue_limit > 0);
    // Equal events in a row are merged by the kernel, so two names alternate.
    write_file(dir / "x", "");
    write_file(dir / "y", "");
    for (std::size_t i = 0; i < queue_limit + 16; ++i) {
      const int fd = ::open((dir / (i % 2 ? "x" : "y")).c_str(), O_WRONLY);
      REQUIRE(fd >= 0);
      ::close(fd);
    }
    write_file(last, "x");
    closed.unlock();
    std::unique_lock lock(mutex);
    CHECK(changed.wait_for(lock, 20s, [&] { return last_seen; }));
    lock.unlock();
    watch->reset();
  }
}

TEST_CASE("a watch stops at once, whatever it waits for") {
  const TempDirectory dir;
  const auto start = std::chrono::steady_clock::now();
  {
    Watched watched({dir / "missing"}, {.settle = 1h, .settle_limit = 1h, .retry = 1h});
  }
  CHECK(std::chrono::steady_clock::now() - start < 10s);
}
