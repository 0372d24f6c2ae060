// The inotify watches over a list of directories that may not exist. One thread.
//
// A directory that is there has two watches: its own, for its files, and its parent's, which tells
// that it was removed, renamed or (a symlink) turned. One that is not there has one on its nearest
// existing ancestor. When any of that changes the whole set is built anew: changes of that kind are
// rare, and following each by hand (two names of one inode share a watch descriptor, a moved
// directory keeps its watch) is where watchers go wrong. The owner compares snapshots after each
// build, so nothing is lost between two sets.
#pragma once

#include "daemon/plugin/unique_fd.hpp"

#include <cstdint>
#include <expected>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

struct inotify_event;

namespace smarmd::plugin {

class WatchSet {
 public:
  struct Changes {
    std::vector<std::filesystem::path> files;  // plugin files with an event
    bool stale = false;  // the set must be built anew: the directories changed, or events were lost
  };

  // The error: no inotify instance to be had; which limit to raise.
  [[nodiscard]] static std::expected<WatchSet, std::string> build(
      const std::vector<std::filesystem::path>& directories);

  int fd() const { return fd_.get(); }
  // Never blocks.
  [[nodiscard]] Changes read();
  // One line for each directory that is not watched.
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  struct Role {
    std::filesystem::path directory;
    std::string child;  // empty: the directory's files count; else only the entry of that name, and
                        // that it changes
  };

  explicit WatchSet(UniqueFd fd) : fd_(std::move(fd)) {}
  int add(const std::filesystem::path& directory, std::uint32_t mask, std::string child);
  void watch(const std::filesystem::path& directory);
  bool watch_nearest_ancestor(const std::filesystem::path& directory, const std::string& why);
  void handle(const inotify_event& event, std::string_view name, Changes& changes) const;

  UniqueFd fd_;
  std::unordered_map<int, std::vector<Role>> roles_;  // by watch descriptor
  std::vector<std::string> problems_;
};

}  // namespace smarmd::plugin
