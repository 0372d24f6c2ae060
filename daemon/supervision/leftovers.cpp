#include "daemon/supervision/leftovers.hpp"

#include "daemon/plugin/elf_file.hpp"
#include "daemon/plugin/unique_fd.hpp"

#include <fcntl.h>

#include <string_view>

namespace smarmd {

namespace {

struct Means {
  std::string_view import;  // the beginning of the symbol's name
  const char* reason;
};

constexpr const char* kTimers = "it can have started timers that are still pending";
constexpr const char* kThreads = "it can have started threads of its own";
constexpr const char* kHandlers = "it can have installed handlers of the process";

constexpr Means kMeans[] = {
    {"smarm_timer_start", kTimers},
    {"timer_create", kTimers},
    {"pthread_create", kThreads},
    {"thrd_create", kThreads},
    {"_ZNSt6thread15_M_start_thread", kThreads},
    {"sigaction", kHandlers},
    {"signal", kHandlers},
    {"pthread_atfork", kHandlers},
    {"pthread_key_create", kHandlers},
    {"_ZSt13set_terminate", kHandlers},
    {"_ZSt15set_new_handler", kHandlers},
};

}  // namespace

std::optional<std::string> reason_to_stay_mapped(const std::filesystem::path& image) {
  const plugin::UniqueFd fd(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return "its file cannot be read";
  const auto file = plugin::ElfFile::open(fd.get());
  if (!file) return "its file " + file.error();
  const auto dynamic = file->dynamic();
  if (!dynamic) return "its file " + dynamic.error();
  for (const plugin::ElfFile::Symbol& symbol : (*dynamic)->symbols) {
    if (symbol.defined) continue;
    for (const Means& means : kMeans) {
      if (symbol.name.starts_with(means.import))
        return std::string(means.reason) + " (" + std::string(symbol.name) + ")";
    }
  }
  return std::nullopt;
}

}  // namespace smarmd
