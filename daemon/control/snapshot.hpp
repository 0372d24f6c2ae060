// What the daemon shows of itself: plain data, copied out under a lock of the owner's and never
// obtained by asking an actor, so that it can be had when every worker is wedged.
#pragma once

#include "daemon/log/late_text.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace smarmd {

// The restart policy in force.
struct PolicySnapshot {
  std::string restart;  // permanent, transient, temporary
  std::uint32_t max_restarts = 0;
  std::uint32_t window_s = 0;
  std::uint32_t backoff_min_ms = 0;
  std::uint32_t backoff_max_ms = 0;
  std::uint64_t mailbox_limit = 0;  // messages; 0 for none
};

struct PluginSnapshot {
  std::string name;  // of the descriptor; of the file when it was refused before that was known
  std::string version;
  std::string description;
  std::string file;
  std::string state;  // as supervision names it: running, backing_off, quarantined, refused, ...
  std::string pid;    // of the root actor, "12.3"; empty when there is none
  std::uint64_t restarts = 0;  // since its image was loaded
  std::uint64_t restarts_in_window = 0;
  std::int64_t since_ms = 0;  // of this state, Unix time
  std::string last_reason;    // of a refusal, else of the last end that nobody asked for
  LateText last_backtrace;
  std::int64_t next_start_ms = 0;     // Unix time, in state backing_off; 0 else
  std::uint64_t generation = 0;       // of the image: 1 for the first
  std::uint64_t resident_images = 0;  // older images that are still mapped
  std::uint64_t actors = 0;           // live actors of the plugin
  std::uint64_t preempted_alloc = 0, preempted_async = 0;  // as of a worker, since it was found
  std::uint64_t blocked = 0;  // times that an actor held its thread, since it was found
  std::uint64_t blocking_jobs_running = 0, blocking_jobs_queued = 0;  // of block_on_io, now
  std::uint64_t blocking_jobs_total = 0;  // that have ended, since it was found
  std::uint64_t mailbox_depth_max = 0;    // messages in the fullest, of those that were 512 behind
  std::uint64_t mailbox_refused = 0;      // messages that met the limit, since it was found
  bool only_file = false;  // a refused file that belongs to no plugin: its name need not be unique
  PolicySnapshot policy;
};

struct WorkerSnapshot {
  std::uint64_t resumes = 0, parks = 0, yields = 0;
  std::uint64_t preempted_alloc = 0, preempted_async = 0;
  std::uint64_t steals = 0, wakes = 0, spawned = 0, exited = 0;
  std::uint64_t idle_ns = 0;
  std::uint64_t timers_fired = 0, polls = 0;
  std::uint64_t hibernated = 0, thawed = 0;
};

// The threads of block_on_io, and the jobs of all plugins and the daemon.
struct BlockingSnapshot {
  std::uint64_t threads = 0, threads_limit = 0, threads_idle = 0;
  std::uint64_t jobs_running = 0, jobs_queued = 0, jobs_total = 0;
};

struct DaemonSnapshot {
  std::string version;
  std::int64_t pid = 0;         // of the process
  std::string state;            // starting, running, reloading, stopping
  std::int64_t started_ms = 0;  // Unix time
  std::string config_file;      // empty for built-in defaults
  std::vector<std::string> plugin_directories;
  std::string io_backend;
  std::string log_level, log_format;
  std::string metrics_listen;  // empty when off or failed
  std::uint64_t actors = 0;
  std::uint64_t log_lost = 0;
  std::int64_t last_reload_ms = 0;      // Unix time; 0 for never
  std::string last_reload_error;        // empty when it was good
  std::vector<WorkerSnapshot> workers;  // behind the configured ones: extra ones, once used
  std::uint64_t extra_workers = 0, blocked_workers = 0;  // now
  std::uint64_t blocked_total = 0;
  BlockingSnapshot blocking;
  std::vector<PluginSnapshot> plugins;
};

void to_json(nlohmann::json& j, const PolicySnapshot& policy);
void to_json(nlohmann::json& j, const PluginSnapshot& plugin);
void to_json(nlohmann::json& j, const WorkerSnapshot& worker);
void to_json(nlohmann::json& j, const DaemonSnapshot& daemon);  // all of it, plugins included

// The answer of `status`: the daemon without the plugins' details, but with how many are in which
// state.
nlohmann::json status_document(const DaemonSnapshot& daemon);

}  // namespace smarmd
