// Watches the plugin directories.
//
// A thread of its own (not a worker) waits on inotify. A change is reported once the file has been
// quiet for `settle`: an `install` that unlinks and re-creates is one event. Only `*.so` counts;
// dotfiles do not, which is where rsync and editors keep half-written files.
//
// A directory that is not there is looked for through its nearest existing ancestor; one that is
// removed, replaced (also a symlink that is turned) and made again is followed. What inotify cannot
// see (an ancestor that is renamed, a mount, a dangling link whose target appears) is found by the
// look every `retry` while a directory is missing, and by rescan().
//
// Threads: the callback runs on the watch's own thread and must not destroy the watch. Everything
// else may be called from any thread.
#pragma once

#include <chrono>
#include <expected>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace smarmd::plugin {

struct Event {
  enum class Kind {
    present,  // new or changed, or its owner or mode changed; the bytes may still be the same
    gone,
  };
  std::filesystem::path path;
  Kind kind;
};

struct WatchOptions {
  std::chrono::milliseconds settle{100};
  // A file that never gets quiet is reported after that.
  std::chrono::milliseconds settle_limit{2000};
  std::chrono::milliseconds retry{2000};
};

class DirectoryWatch {
 public:
  using OnChange = std::function<void(std::vector<Event>)>;  // sorted by path, no path twice

  // When it returns the watches stand, so a scan() afterwards misses nothing; files that are there
  // at this moment are not reported. The error (no inotify instance left) says which limit to
  // raise.
  [[nodiscard]] static std::expected<std::unique_ptr<DirectoryWatch>, std::string> start(
      std::vector<std::filesystem::path> directories, OnChange on_change,
      WatchOptions options = {});
  ~DirectoryWatch();  // waits for a callback that is running

  // The plugin files of all directories: directories in the order given, each by name.
  [[nodiscard]] std::vector<std::filesystem::path> scan() const;
  // One line for each directory that cannot be read at the moment, and why.
  [[nodiscard]] std::vector<std::string> problems() const;
  // Looks at everything again, now, and reports what changed.
  void rescan();

 private:
  class Impl;
  explicit DirectoryWatch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace smarmd::plugin
