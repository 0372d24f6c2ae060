#include "runtime/fault/text.hpp"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <unwind.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <iterator>

extern "C" {
extern const char smarm_text_begin[], smarm_text_end[];
extern const char smarm_cold_text_begin[], smarm_cold_text_end[];
void* __tls_get_addr(void*);
}

namespace smarm {

namespace {

struct Range {
  std::uintptr_t begin = 0, end = 0;
  bool holds(std::uintptr_t pc) const { return pc >= begin && pc < end; }
};

Range runtime_text, cold_runtime_text;
Range program, libc, linker, allocator, libgcc;

constexpr const char* kPure[] = {"memcpy",  "memmove", "memset",  "memcmp", "memchr",
                                 "memrchr", "strlen",  "strnlen", "strcmp", "strncmp",
                                 "strchr",  "strrchr", "strcpy",  "strncpy"};
// Where they begin. Each name stands for several functions, of which the loader has chosen one.
std::array<std::uintptr_t, std::size(kPure)> pure_functions;

// The mapped image that an address is in.
Range image_of(const void* address) {
  dl_find_object found{};
  if (_dl_find_object(const_cast<void*>(address), &found) != 0) return {};
  return {reinterpret_cast<std::uintptr_t>(found.dlfo_map_start),
          reinterpret_cast<std::uintptr_t>(found.dlfo_map_end)};
}

// In a static program they are part of it, and cannot be told apart.
Range library_of(const void* address) {
  const Range image = image_of(address);
  return image.begin == program.begin ? Range{} : image;
}

Range between(const char* begin, const char* end) {
  return {reinterpret_cast<std::uintptr_t>(begin), reinterpret_cast<std::uintptr_t>(end)};
}

}  // namespace

void learn_text() {
  runtime_text = between(smarm_text_begin, smarm_text_end);
  cold_runtime_text = between(smarm_cold_text_begin, smarm_cold_text_end);
  program = image_of(smarm_text_begin);
  libc = library_of(reinterpret_cast<const void*>(&::gnu_get_libc_version));
  linker = library_of(reinterpret_cast<const void*>(&::__tls_get_addr));
  allocator = library_of(reinterpret_cast<const void*>(&std::malloc));
  libgcc = library_of(reinterpret_cast<const void*>(&::_Unwind_Backtrace));
  std::ranges::transform(kPure, pure_functions.begin(), [](const char* name) {
    return reinterpret_cast<std::uintptr_t>(::dlsym(RTLD_DEFAULT, name));
  });
}

Text text_at(std::uintptr_t pc, bool plugins_only) noexcept {
  if (runtime_text.holds(pc) || cold_runtime_text.holds(pc)) return Text::runtime;
  if (libc.holds(pc) || linker.holds(pc) || allocator.holds(pc)) return Text::host;
  if (libgcc.holds(pc)) return Text::unwinder;
  return plugins_only && program.holds(pc) ? Text::host : Text::user;
}

bool in_program(std::uintptr_t pc) noexcept { return program.holds(pc); }

bool in_system_library(std::uintptr_t pc) noexcept {
  if (program.holds(pc)) return false;
  dl_find_object found{};
  if (_dl_find_object(reinterpret_cast<void*>(pc), &found) != 0) return true;
  const char* name = found.dlfo_link_map->l_name;
  const auto under = [name](const char* folder) {
    return std::strncmp(name, folder, std::strlen(folder)) == 0;
  };
  return name[0] != '/' || under("/lib") || under("/usr/lib");
}

bool is_pure_function(std::uintptr_t begin) noexcept {
  return begin != 0 && std::ranges::find(pure_functions, begin) != pure_functions.end();
}

}  // namespace smarm
