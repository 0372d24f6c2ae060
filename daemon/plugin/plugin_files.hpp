// Which files of a directory are plugins, and a cheap sign of whether one has changed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

namespace smarmd::plugin {

// `*.so`, but not dotfiles.
[[nodiscard]] bool is_plugin_file_name(std::string_view name);

// The regular files (links are followed) of one directory that are plugins, by name; empty when it
// cannot be read.
[[nodiscard]] std::vector<std::filesystem::path> plugin_files(
    const std::filesystem::path& directory);

// Changes with content, owner, mode and identity.
struct FileSignature {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t modified_ns = 0, changed_ns = 0;
  bool operator==(const FileSignature&) const = default;
};

// nullopt: there is no such regular file.
[[nodiscard]] std::optional<FileSignature> signature_of(const std::filesystem::path& file);

using FileSnapshot = std::map<std::filesystem::path, FileSignature>;
[[nodiscard]] FileSnapshot take_snapshot(const std::vector<std::filesystem::path>& directories);

}  // namespace smarmd::plugin
