// What the supervisor knows of one plugin and of one file.
//
// Plain data; the supervisor actor owns every instance.
#pragma once

#include "daemon/config/config.hpp"
#include "daemon/control/reply.hpp"
#include "daemon/plugin/elf_info.hpp"
#include "daemon/supervision/plugin_life.hpp"
#include "daemon/supervision/restart_policy.hpp"
#include "daemon/supervision/supervisor_effects.hpp"

#include <smarm/pid.hpp>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace smarmd {

// A plugin file that is there (with what its note says, or why it cannot be read) or that is gone.
struct FileNews {
  std::filesystem::path path;
  bool gone = false;
  std::expected<plugin::PluginInfo, std::string> info{};
};

// Why the root actor ended.
struct EndReport {
  EndKind kind = EndKind::exit;
  smarm::Pid pid;
  std::string reason, type;
  LateText backtrace;
  SteadyTime at{};
};

// What follows a stop, once the actors of the life are gone.
enum class Next : std::uint8_t {
  back_off,    // the policy restarts it
  stay_down,   // it ended, and the policy leaves it so
  quarantine,  // it used up its restarts
  start,       // at once: by hand, a changed configuration, a new image
  roll_back,   // at once, with the image before
  reload,      // its file is another one now: load it
  disable,
  remove
};

// Why a life begins; it decides which event is logged.
enum class Cause : std::uint8_t {
  first,
  restarted,
  by_hand,
  revived,
  reconfigured,
  replaced,
  rolled_back
};

// The stages of `stopping`, in order; each may be skipped.
struct Stop {
  enum class Phase : std::uint8_t {
    draining,  // asked; its own time to end
    killing,   // killed; the time to unwind
    reaping    // ended; the actors it left were killed and are waited for
  } phase = Phase::draining;
  Next next = Next::stay_down;
  Cause cause = Cause::by_hand;  // next == start
  SteadyTime deadline{};         // of the phase
  SteadyTime poll{};             // reaping: the next look
  Milliseconds poll_gap{1};
  bool asked = false;  // the daemon wanted this end
  bool stuck = false;  // something did not end in time
  EndReport end;
  Decision decision;
};

// A request of smarmctl that is answered when the plugin is up again, or cannot be.
struct Waiting {
  Reply reply;
  smarm::Pid before;
};

struct PluginRecord {
  std::string name;
  std::filesystem::path file;
  plugin::PluginInfo info;  // of the file as last read; of `current` once that is loaded
  PluginPolicy policy;
  PluginLife life;
  std::int64_t since_ms = 0;  // of the state

  ImagePtr current;
  ImagePtr previous;                      // kept while current is on probation
  ImagePtr next;                          // loaded while the old one drains
  std::optional<std::uint64_t> rejected;  // hash of the image that was rolled back
  std::uint64_t ticket = 0;               // of the load under way; 0 for none
  SteadyTime loaded_at{};
  std::uint64_t resident = 0;

  smarm::Pid root, last_root;
  std::uint64_t group = 0;        // of the life; 0 for none
  std::uint64_t account = 0;      // of all its lives, in the runtime
  std::uint64_t start_order = 0;  // counts the starts of all plugins
  SteadyTime born{};
  Cause cause = Cause::first;
  RestartBudget budget;
  std::uint64_t restarts = 0;  // of this image
  Stop stop;         // in `stopping`; afterwards the last end, for the record of the restart
  SteadyTime due{};  // backing_off: when it starts
  std::int64_t due_unix_ms = 0;

  bool waits_for_need = false;  // found: a plugin that it needs is on its way up
  bool needs_missing = false;   // refused for a need: looked at again whenever something starts
  std::string refusal;      // why its newest file, or what it needs, is no good; empty when it is
  std::string last_reason;  // of the last end that nobody asked for; and so
  LateText last_backtrace;
  std::vector<Waiting> waiting;

  PluginState state() const { return life.state(); }
  bool on_probation() const { return previous != nullptr; }
  const std::string& reason() const { return refusal.empty() ? last_reason : refusal; }
};

// A plugin file and the plugin that it is, if it is one.
struct FileEntry {
  std::optional<plugin::PluginInfo> info;
  std::string plugin;   // the record it belongs to; empty for none
  std::string problem;  // why it belongs to none, or why its newest bytes are not in use
  std::int64_t since_ms = 0;
  bool duplicate = false;
};

}  // namespace smarmd
