// What the supervisor says: one structured log record per step of a plugin's life, and the snapshot
// that smarmctl and the metrics show.
//
// Every record carries plugin and file; what else it carries is said at each function. Pids are
// written "index.generation".
#pragma once

#include "daemon/control/snapshot.hpp"
#include "daemon/supervision/plugin_record.hpp"
#include "daemon/supervision/supervisor_effects.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace smarmd {

class PluginReports {
 public:
  explicit PluginReports(SupervisorEffects& effects) : effects_(effects) {}

  void found(const PluginRecord& r);
  // A life began: plugin.started, .restarted, .revived, .replaced or .rolled_back by its cause.
  // actor, pid_old, pid_new, generation; after an end also reason, type, backtrace, restarts,
  // delay_ms.
  void started(const PluginRecord& r);
  // The root actor ended: plugin.panicked (also when killed), .ended or .stopped. actor, reason,
  // type, backtrace, lived_ms; what comes next.
  void ended(const PluginRecord& r);
  void quarantined(const PluginRecord& r);
  void stopping(const PluginRecord& r, std::string_view why);
  void overran(const PluginRecord& r);                    // its time to drain is over: it is killed
  void stuck(const PluginRecord& r, std::size_t actors);  // killed and still there
  void refused(const PluginRecord& r, std::string_view reason);
  void file_refused(const std::filesystem::path& file, std::string_view plugin,
                    std::string_view reason);
  void file_warning(const PluginRecord& r, std::string_view warning);
  void disabled(const PluginRecord& r);
  void removed(const PluginRecord& r);
  void resident(std::string_view plugin, const LoadedImage& image, std::string_view why);

 private:
  void log(Level level, std::string_view event, const PluginRecord& r, std::string text,
           Fields more);

  SupervisorEffects& effects_;
};

PluginSnapshot snapshot_of(const PluginRecord& r, std::uint64_t actors);
PluginSnapshot snapshot_of(const std::filesystem::path& file, const FileEntry& entry);

}  // namespace smarmd
