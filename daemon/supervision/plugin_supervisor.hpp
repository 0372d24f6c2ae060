// The plugin supervisor: which plugin runs, which starts again, which image it runs, in which order
// all of them stop.
//
// What it is   The logic alone, without runtime, threads or clock: it hears events (a file came, an
// image is loaded, a root actor ended, an operator asked) and
//              answers by calling SupervisorEffects. supervisor_actor.hpp runs it inside an actor.
//              Restart types, intensity and stop order are OTP's (supervisor.erl).
// Threads      One owner. Every function returns at once.
//
// Invariants
//  1. A plugin is in one state of plugin_life.hpp and changes it only along that table.
//  2. At most one life of a plugin is not yet reaped; a new one starts only after it. (An actor
//  that ignores a kill is given up after a time, logged, and pins its image.)
//  3. An image is unloaded only when no actor of its lives is left.
//  4. One name, one file: the first one seen has it.
//  5. After every event the supervisor has done all that could be done at that moment; next_due()
//  says when time alone will change something.
#pragma once

#include "daemon/config/config.hpp"
#include "daemon/control/reply.hpp"
#include "daemon/control/snapshot.hpp"
#include "daemon/supervision/needs.hpp"
#include "daemon/supervision/plugin_record.hpp"
#include "daemon/supervision/plugin_reports.hpp"
#include "daemon/supervision/supervisor_effects.hpp"

#include <smarm/exit.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace smarmd {

// How long what was killed may take to unwind before it is given up.
inline constexpr Milliseconds kKillGrace{2000};
// A new image that fails within this time (or the restart window, when that is shorter) goes back
// to the one before.
inline constexpr Milliseconds kProbation{10'000};
// A loaded plugin waits that long for plugins with an earlier name that are still loading, so that
// they start in order.
inline constexpr Milliseconds kOrderPatience{300};

struct PluginView {
  PluginSnapshot snapshot;
  std::uint64_t group = 0;    // of the running life; 0 for none
  std::uint64_t account = 0;  // of all its lives; 0 for a file that is no plugin
};

class PluginSupervisor {
 public:
  PluginSupervisor(Config config, SupervisorEffects& effects);

  // All plugin files there are, in order; those that are not among them any more are gone.
  void scanned(std::vector<FileNews> files);
  // Some files changed.
  void files_changed(std::vector<FileNews> news);

  void loaded(LoadResult result);
  // kept_because: empty when the image is unmapped.
  void unloaded(const std::string& plugin, const LoadedImage& image, std::string_view kept_because);
  void signalled(const smarm::Signal& signal);

  void restart(const std::string& plugin, Reply reply);
  // Starts a quarantined or stopped plugin with its whole budget.
  void revive(const std::string& plugin, Reply reply);
  // Takes new policies over. Restarts the plugins whose own configuration changed.
  void apply(Config config);

  // Stops everything in reverse start order within runtime.shutdown_ms; kill_all() ends that time
  // now.
  void shut_down();
  void kill_all();

  // Does what is due.
  void tick();
  std::optional<SteadyTime> next_due() const;

  // Nothing is loading, stopping or about to start.
  bool settled() const;
  // Shut down: no plugin has a root actor any more, or it was given up.
  bool finished() const;
  // Names of the plugins whose actors never ended.
  std::vector<std::string> stuck() const;
  // What smarmctl and the metrics show. The live actors are not counted: whoever shows them counts
  // the group.
  std::vector<PluginView> views() const;
  bool shutting_down() const { return shutdown_.has_value(); }

 private:
  struct Shutdown {
    SteadyTime deadline;
    SteadyTime next_ask;
    std::string last_asked;
  };

  // plugin_catalogue.cpp: files, images, needs
  void present(const FileNews& news);
  void gone(const std::filesystem::path& path);
  void refuse_file(const std::filesystem::path& path, FileEntry& entry, std::string reason);
  void adopt(const std::filesystem::path& path, FileEntry& entry, PluginRecord& record);
  void readopt_duplicate(const std::string& name);
  void request_load(PluginRecord& record);
  void image_failed(PluginRecord& record, const std::string& reason);
  void image_ready(PluginRecord& record, ImagePtr image);
  void install_next(PluginRecord& record, bool keep_old);
  void use_image(PluginRecord& record, ImagePtr image);
  void discard(PluginRecord& record, ImagePtr& image);
  void discard_all(PluginRecord& record);
  void schedule();
  bool schedule_one(PluginRecord& record, bool earlier_loading);
  NeedsView needs_view() const;

  // plugin_supervisor.cpp: lives
  void enter(PluginRecord& record, PluginState state);
  void start(PluginRecord& record, Cause cause);
  void ended(PluginRecord& record, EndReport end);
  Next next_after(PluginRecord& record, const EndReport& end);
  void answer_waiting(PluginRecord& record, bool up);
  void advance();

  // plugin_stop.cpp: stops and the shutdown
  void begin_stop(PluginRecord& record, Next next, std::string_view why);
  void reap(PluginRecord& record);
  void step_stop(PluginRecord& record);
  void finish_stop(PluginRecord& record);
  void resume(PluginRecord& record);
  void take_down(PluginRecord& record, Next next, std::string_view why);
  void step_shutdown();
  bool drop_removed();

  PluginRecord* find(std::string_view name);
  const PluginRecord* find(std::string_view name) const;
  bool refuse_command(std::string_view name, const PluginRecord* record, const Reply& reply) const;

  Config config_;
  SupervisorEffects& effects_;
  PluginReports reports_;
  std::map<std::string, PluginRecord, std::less<>> plugins_;
  std::map<std::filesystem::path, FileEntry> files_;
  std::unordered_map<smarm::Pid, std::string> roots_;
  std::uint64_t last_group_ = 0, last_account_ = 0, last_ticket_ = 0, last_start_ = 0;
  std::optional<Shutdown> shutdown_;
};

}  // namespace smarmd
