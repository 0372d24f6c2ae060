// dlopen with its errors as values, and the checks that need a loaded file. Used by the probe child
// and by Image.
#pragma once

#include <smarm/plugin.hpp>

#include <expected>
#include <filesystem>
#include <string>

namespace smarmd::plugin {

// RTLD_NOW | RTLD_LOCAL. Runs static constructors. The error is one line without the file's name.
[[nodiscard]] std::expected<void*, std::string> load_shared_object(
    const std::filesystem::path& file);

// Looks up the plugin's export and checks it: its shape, its ABI, and that its operator new is this
// executable's.
[[nodiscard]] std::expected<const smarm::plugin::detail::Export*, std::string> find_export(
    void* handle);

// dlclose, which runs static destructors. True when the file is really gone from the process.
[[nodiscard]] bool unload_shared_object(void* handle, const std::filesystem::path& file);

}  // namespace smarmd::plugin
