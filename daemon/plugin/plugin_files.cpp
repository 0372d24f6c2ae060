#include "daemon/plugin/plugin_files.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>

namespace smarmd::plugin {

namespace fs = std::filesystem;

bool is_plugin_file_name(std::string_view name) {
  return name.size() > 3 && !name.starts_with('.') && name.ends_with(".so");
}

std::vector<fs::path> plugin_files(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (is_plugin_file_name(it->path().filename().native()) && signature_of(it->path()))
      files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::optional<FileSignature> signature_of(const fs::path& file) {
  struct stat status{};
  if (::stat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  const auto ns = [](const timespec& t) {
    return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
  };
  return FileSignature{status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size),
                       ns(status.st_mtim), ns(status.st_ctim)};
}

FileSnapshot take_snapshot(const std::vector<fs::path>& directories) {
  FileSnapshot snapshot;
  for (const fs::path& directory : directories) {
    for (fs::path& file : plugin_files(directory)) {
      if (const auto signature = signature_of(file)) snapshot.emplace(std::move(file), *signature);
    }
  }
  return snapshot;
}

}  // namespace smarmd::plugin
