// The child's side of the probe: what `smarmd --probe-child FILE` does.
#include "daemon/plugin/probe.hpp"
#include "daemon/plugin/probe_report.hpp"
#include "daemon/plugin/shared_object.hpp"
#include "daemon/plugin/text.hpp"

#include <cxxabi.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>

namespace smarmd::plugin {
namespace {

const char* volatile phase =
    "static constructor";  // whose code runs at the moment, for the terminate handler

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

// One line of its own, whatever the plugin has printed before.
void report(std::string_view line) {
  write_all(STDERR_FILENO, "\n" + std::string(kReportPrefix) + std::string(line) + "\n");
}

[[noreturn]] void fail(std::string_view reason) {
  report(std::string(kReportFailed) + std::string(reason));
  ::_exit(1);
}

std::string current_exception_text() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  if (!type) return "ended in std::terminate";
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> demangled(
      abi::__cxa_demangle(type->name(), nullptr, nullptr, &status), &std::free);
  std::string text = std::string("threw ") + (demangled ? demangled.get() : type->name());
  try {
    throw;
  } catch (const std::exception& e) {
    text += std::string(": ") + e.what();
  } catch (...) {
  }
  return text;
}

[[noreturn]] void on_terminate() {
  fail(std::string("has a ") + phase + " that " + one_line(current_exception_text()));
}

// The probe must die with the daemon, leave no core file, and be the first to go when memory runs
// out.
void make_expendable() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  if (const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); fd >= 0) {
    write_all(fd, "1000");
    ::close(fd);
  }
}

// noexcept: what a constructor throws would otherwise look for a handler beyond the loader's
// frames; so it ends in the terminate handler, which knows the exception.
void try_file(const std::filesystem::path& file) noexcept {
  const auto handle = load_shared_object(file);
  if (!handle) fail(handle.error());
  if (const auto found = find_export(*handle); !found) fail(found.error());
  report(kReportLoaded);
  phase = "static destructor";
  (void)unload_shared_object(*handle, file);
  report(kReportOk);
}

}  // namespace

int probe_main(const std::filesystem::path& file) {
  make_expendable();
  std::set_terminate(on_terminate);
  // dlopen takes a name without a slash as one to look for in the library path.
  try_file(file.has_parent_path() ? file : "." / file);
  ::_exit(0);  // nothing of the plugin, atexit handlers included, runs any more
}

}  // namespace smarmd::plugin
