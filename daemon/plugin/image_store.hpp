// The daemon's private copies of plugin files.
//
// Overwriting a file that is mapped kills the process with SIGBUS, and opening the same path again
// gives the old handle. So each generation of a plugin is a copy of its own,
// `<state>/images/<name>.g<N>.so`, in a directory that only the daemon writes.
//
// Invariants
//  1. The bytes that are checked are the bytes that are loaded: the source is opened once, copied,
//  and every check reads the copy.
//  2. A name in the store is never used for two different contents within one run of the daemon.
//  3. One daemon at a time uses a store (a lock file); what earlier runs left is removed when it is
//  opened.
//
// Any thread may call; admit() blocks for as long as the probe takes. It holds no lock meanwhile.
#pragma once

#include "daemon/plugin/elf_info.hpp"
#include "daemon/plugin/probe.hpp"
#include "daemon/plugin/unique_fd.hpp"

#include <sys/stat.h>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace smarmd::plugin {

// A checked and probed copy, ready for Image::open.
struct PrivateImage {
  PluginInfo info;
  std::filesystem::path source;  // the file that the operator sees
  std::filesystem::path path;    // the private copy
  std::uint64_t generation = 0;  // 1 for the first image of that name in this run
  std::uint64_t hash = 0;        // FNV-1a of the bytes
};

struct ImageStoreOptions {
  std::filesystem::path state_directory;  // `images` is made below it
  std::filesystem::path self_exe = "/proc/self/exe";
  std::chrono::milliseconds probe_timeout = kProbeTimeout;
  std::uint64_t max_file_bytes = std::uint64_t{512} << 20;
  InspectOptions inspect{};
};

class ImageStore {
 public:
  // Makes the directory, takes the lock, removes old copies. The error names the path and the way
  // out.
  [[nodiscard]] static std::expected<std::unique_ptr<ImageStore>, std::string> open(
      ImageStoreOptions options);
  ImageStore(const ImageStore&) = delete;
  ImageStore& operator=(const ImageStore&) = delete;

  // Checks owner and mode of the file and its directory, copies, inspects, probes. nullopt: the
  // bytes equal `running`, there is nothing to do. An error is one line without the file's name; a
  // file that is still being written is an error too, and the watcher's next event tries again.
  [[nodiscard]] std::expected<std::optional<PrivateImage>, std::string> admit(
      const std::filesystem::path& source, std::optional<std::uint64_t> running = std::nullopt);

  // Ends the probes that are under way, and lets none begin: the daemon stops.
  void cancel_probes();

  // Removes the copy of an image that was unmapped or never opened. A resident one keeps its file,
  // for debuggers.
  void remove(const PrivateImage& image);

  const std::filesystem::path& directory() const { return directory_; }

 private:
  ImageStore(ImageStoreOptions options, std::filesystem::path directory, UniqueFd lock);
  std::filesystem::path temporary_path();
  std::uint64_t next_generation(const std::string& name);

  const ImageStoreOptions options_;
  const std::filesystem::path directory_;
  const UniqueFd lock_;
  const UniqueFd cancel_;  // an eventfd

  std::mutex mutex_;
  std::map<std::string, std::uint64_t> generations_;  // by mutex_: the last one given out, per name
  std::uint64_t temporaries_ = 0;                     // by mutex_
};

// Regular file or directory, owned by root or this process's user, not writable by others. Who owns
// it answers for its group. The error says which command mends it.
[[nodiscard]] std::expected<void, std::string> check_ownership(const std::filesystem::path& shown,
                                                               const struct stat& status);

}  // namespace smarmd::plugin
