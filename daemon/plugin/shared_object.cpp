#include "daemon/plugin/shared_object.hpp"

#include "daemon/plugin/text.hpp"

#include <dlfcn.h>

#include <cstddef>
#include <new>
#include <string_view>

namespace smarmd::plugin {
namespace {

// The loader starts its messages with the path, here a private copy that means nothing to the
// operator.
std::string loader_error(const std::filesystem::path& file) {
  const char* text = ::dlerror();
  std::string_view error = text ? text : "unknown error of the dynamic linker";
  if (const std::string prefix = file.string() + ": "; error.starts_with(prefix))
    error.remove_prefix(prefix.size());
  return one_line(error);
}

}  // namespace

std::expected<void*, std::string> load_shared_object(const std::filesystem::path& file) {
  void* handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) return std::unexpected("cannot be loaded: " + loader_error(file));
  return handle;
}

std::expected<const smarm::plugin::detail::Export*, std::string> find_export(void* handle) {
  const auto* found =
      static_cast<const smarm::plugin::detail::Export*>(::dlsym(handle, "smarm_plugin_export"));
  if (!found) return std::unexpected("does not export smarm_plugin_export");
  if (found->struct_size < sizeof *found)
    return std::unexpected("has a smarm_plugin_export of " + std::to_string(found->struct_size) +
                           " bytes, " + std::to_string(sizeof *found) + " are needed");
  if (found->abi_major != SMARM_ABI_MAJOR)
    return std::unexpected("has an export of smarm ABI " + std::to_string(found->abi_major) +
                           ", this daemon has " + std::to_string(SMARM_ABI_MAJOR));
  if (!found->main) return std::unexpected("exports no main function");
  if (found->operator_new != static_cast<void* (*)(std::size_t)>(&::operator new)) {
    return std::unexpected(
        "has its own operator new bound into it: its actors must allocate with the daemon's; do "
        "not link with -static-libstdc++, -Bsymbolic or --exclude-libs");
  }
  return found;
}

bool unload_shared_object(void* handle, const std::filesystem::path& file) {
  ::dlclose(handle);
  void* still = ::dlopen(file.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (!still) return true;
  ::dlclose(still);  // only the reference that asking took
  return false;
}

}  // namespace smarmd::plugin
