#include "daemon/plugin/watch_set.hpp"

#include "daemon/plugin/plugin_files.hpp"
#include "daemon/plugin/text.hpp"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace smarmd::plugin {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kOwnEnd = IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_MASK_ADD;
// IN_CREATE for links only; IN_ATTRIB so that a file is tried again after the `chmod` or `chown`
// that its refusal asked for.
constexpr std::uint32_t kFiles =
    IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | kOwnEnd;
constexpr std::uint32_t kEntries = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | kOwnEnd;

// A link (symbolic or hard) is complete as soon as it is there. A new file of its own is not: its
// IN_CLOSE_WRITE follows.
bool complete_when_created(const fs::path& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0 && (S_ISLNK(status.st_mode) || status.st_nlink > 1);
}

std::string watch_error(int error) {
  if (error == ENOSPC) return "no inotify watch is left: raise fs.inotify.max_user_watches";
  return errno_text(error);
}

bool is_there(const fs::path& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0;
}

}  // namespace

std::expected<WatchSet, std::string> WatchSet::build(const std::vector<fs::path>& directories) {
  WatchSet set{UniqueFd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC))};
  if (!set.fd_) {
    if (errno == EMFILE)
      return std::unexpected(
          "the plugin directories cannot be watched: no inotify instance is left: raise "
          "fs.inotify.max_user_instances");
    return std::unexpected("the plugin directories cannot be watched: inotify: " +
                           errno_text(errno));
  }
  for (const fs::path& directory : directories) set.watch(directory);
  return set;
}

int WatchSet::add(const fs::path& directory, std::uint32_t mask, std::string child) {
  const int id = ::inotify_add_watch(fd_.get(), directory.c_str(), mask);
  if (id < 0) return errno;
  roles_[id].push_back({directory, std::move(child)});
  return 0;
}

void WatchSet::watch(const fs::path& directory) {
  // The directory may come or go between two steps: then the next round finds it so.
  for (int round = 0; round < 8; ++round) {
    const int error = add(directory, kFiles, {});
    if (error == 0) {
      if (directory.has_relative_path())
        (void)add(directory.parent_path(), kEntries,
                  directory.filename());  // an unreadable parent only delays what rescan() finds
      return;
    }
    const std::string why = error == ENOENT
                                ? "does not exist yet: it is watched for until it appears"
                                : "cannot be watched: " + watch_error(error);
    if (watch_nearest_ancestor(directory, why)) return;
  }
  problems_.push_back(directory.string() + ": changes faster than it can be watched");
}

// False when what was missing has appeared meanwhile.
bool WatchSet::watch_nearest_ancestor(const fs::path& directory, const std::string& why) {
  fs::path missing = directory;
  while (missing.has_relative_path() && !is_there(missing.parent_path()))
    missing = missing.parent_path();
  const bool was_there = is_there(missing);
  (void)add(missing.parent_path(), kEntries, missing.filename());
  if (!was_there && is_there(missing)) return false;
  problems_.push_back(directory.string() + ": " + why);
  return true;
}

WatchSet::Changes WatchSet::read() {
  Changes changes;
  alignas(inotify_event) char buffer[16 << 10];
  for (;;) {
    const ssize_t n = ::read(fd_.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return changes;
    for (const char* at = buffer; at < buffer + n;) {
      inotify_event event;
      std::memcpy(&event, at, sizeof event);
      const char* name = at + sizeof event;
      handle(event, {name, ::strnlen(name, event.len)}, changes);
      at = name + event.len;
    }
  }
}

void WatchSet::handle(const inotify_event& event, std::string_view name, Changes& changes) const {
  if (event.mask & (IN_Q_OVERFLOW | IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) {
    changes.stale = true;
    return;
  }
  const auto roles = roles_.find(event.wd);
  if (roles == roles_.end()) return;
  for (const Role& role : roles->second) {
    if (!role.child.empty()) {
      changes.stale |= name == role.child && (event.mask & (kEntries & ~kOwnEnd));
    } else if (name.empty()) {
      // The directory's own mode or owner: what it made impossible for its files may be possible
      // now.
      if (!(event.mask & IN_ATTRIB)) continue;
      for (fs::path& file : plugin_files(role.directory)) changes.files.push_back(std::move(file));
    } else if (is_plugin_file_name(name)) {
      const fs::path path = role.directory / name;
      if (!(event.mask & IN_CREATE) || complete_when_created(path)) changes.files.push_back(path);
    }
  }
}

}  // namespace smarmd::plugin
