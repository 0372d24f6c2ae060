// What a plugin file says of itself, read without running any of its code.
//
// Hosts that compare the ABI only after dlopen crash from merely loading a mismatch: static
// constructors run first. So the ELF note, the dynamic section and the dynamic symbols are read
// here by hand. Any thread may call; it blocks on the disk.
//
// Invariants
//  1. The file is read by pread in bounded pieces, never mapped: one that shrinks meanwhile gives
//  an error, not SIGBUS.
//  2. Every piece is read once and checked afterwards, so a file that changes meanwhile cannot pass
//  a check with other bytes.
//  3. Nothing in the file is trusted: offsets, counts and texts are checked before use; texts that
//  reach a log are stripped of control characters.
//
// An error is one line without the file's name, which the caller puts in front: "{file}: {error}".
#pragma once

#include <smarm/plugin.hpp>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace smarmd::plugin {

struct PluginInfo {
  std::string name, version, description;
  std::vector<std::string> needs;  // names of plugins that must be up first
  smarm::plugin::Restart restart = smarm::plugin::Restart::by_config;
  std::uint32_t abi_major = 0, abi_minor = 0;
  std::uint32_t features = 0;
  std::string compiler;
  std::vector<std::string> warnings;  // legal, but the author should know; one line each
};

struct InspectOptions {
  // Whether the daemon exports a function of the core. Empty: ask the dynamic linker.
  std::function<bool(const std::string& symbol)> exported{};
  // What the plugin's compiler flags (smarm::plugin::detail::NoteFlag) must equal.
  std::uint32_t build_flags = smarm::plugin::detail::build_flags();
};

// Letters, digits, `-` and `_`, 1 to 63 of them.
[[nodiscard]] bool valid_plugin_name(std::string_view name);

[[nodiscard]] std::expected<PluginInfo, std::string> inspect(const std::filesystem::path& file,
                                                             const InspectOptions& options = {});
// The same from an open file; its offset is neither used nor moved.
[[nodiscard]] std::expected<PluginInfo, std::string> inspect_fd(int fd,
                                                                const InspectOptions& options = {});

}  // namespace smarmd::plugin
