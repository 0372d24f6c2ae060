// Tries a plugin's dlopen in a child process first: a static constructor that throws, hangs or
// crashes would take the daemon with it.
//
// The daemon runs itself as `smarmd --probe-child FILE`; the child loads the file, checks its
// export, unloads it and says how that went. Any thread but a worker may call probe(): it blocks
// until the child has ended or the time is up. Neither the child nor what it started in its process
// group outlives the call.
#pragma once

#include <chrono>
#include <expected>
#include <filesystem>
#include <string>

namespace smarmd::plugin {

#if SMARM_VALGRIND  // it takes seconds to start a process
inline constexpr std::chrono::milliseconds kProbeTimeout{60'000};
#else
inline constexpr std::chrono::milliseconds kProbeTimeout{5000};
#endif

// The error is one line without the file's name. `cancel`: a descriptor whose being readable ends
// the probe early; -1 for none.
[[nodiscard]] std::expected<void, std::string> probe(
    const std::filesystem::path& self_exe, const std::filesystem::path& file,
    std::chrono::milliseconds timeout = kProbeTimeout, int cancel = -1);

// The child's side, all that `smarmd --probe-child FILE` does; returns the exit status, 0 when the
// file can be loaded. Says on stderr what it found. Must be called on the main thread before any
// other thread is started.
[[nodiscard]] int probe_main(const std::filesystem::path& file);

}  // namespace smarmd::plugin
