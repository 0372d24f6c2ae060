// The daemon: wires configuration, logger, control, metrics, directory watch, runtime and
// supervisor together and runs until it is told to stop.
//
// Threads of the process, besides the runtime's workers (the main thread is worker 0) and its pool
// for blocking calls:
//   smarmd-service   signals, sd_notify, the end of an overdue shutdown
//   the log thread, the control thread, the metrics thread, the directory watch
// All of them have the service signals blocked, so SIGTERM, SIGINT and SIGHUP always reach
// smarmd-service.
#pragma once

#include <filesystem>
#include <vector>

namespace smarmd {

inline constexpr const char* kDefaultConfig = "/etc/smarmd/smarmd.json";

struct DaemonOptions {
  std::filesystem::path config_file = kDefaultConfig;
  std::vector<std::filesystem::path>
      plugin_directories;  // in place of /plugins/directory when there are any
};

// Runs the daemon on the calling thread, which must be the process's only one. Returns the exit
// code; what went wrong is on stderr or in the log.
[[nodiscard]] int run_daemon(const DaemonOptions& options);

// `smarmd --check-config`: "ok" and a summary on stdout, or every error, one a line, on stderr.
[[nodiscard]] int check_config(const DaemonOptions& options);

}  // namespace smarmd
