#include "daemon/control/snapshot.hpp"

#include <map>

namespace smarmd {

void to_json(nlohmann::json& j, const PolicySnapshot& policy) {
  j = {{"restart", policy.restart},
       {"max_restarts", policy.max_restarts},
       {"window_s", policy.window_s},
       {"backoff_ms", {policy.backoff_min_ms, policy.backoff_max_ms}},
       {"mailbox_limit", policy.mailbox_limit}};
}

void to_json(nlohmann::json& j, const PluginSnapshot& plugin) {
  j = {{"name", plugin.name},
       {"version", plugin.version},
       {"description", plugin.description},
       {"file", plugin.file},
       {"state", plugin.state},
       {"pid", plugin.pid},
       {"restarts", plugin.restarts},
       {"restarts_in_window", plugin.restarts_in_window},
       {"since_ms", plugin.since_ms},
       {"last_reason", plugin.last_reason},
       {"last_backtrace", plugin.last_backtrace.text()},
       {"next_start_ms", plugin.next_start_ms},
       {"generation", plugin.generation},
       {"resident_images", plugin.resident_images},
       {"actors", plugin.actors},
       {"preempted_alloc", plugin.preempted_alloc},
       {"preempted_async", plugin.preempted_async},
       {"blocked", plugin.blocked},
       {"blocking_jobs_running", plugin.blocking_jobs_running},
       {"blocking_jobs_queued", plugin.blocking_jobs_queued},
       {"blocking_jobs_total", plugin.blocking_jobs_total},
       {"mailbox_depth_max", plugin.mailbox_depth_max},
       {"mailbox_refused", plugin.mailbox_refused},
       {"policy", plugin.policy}};
}

void to_json(nlohmann::json& j, const WorkerSnapshot& worker) {
  j = {{"resumes", worker.resumes},
       {"parks", worker.parks},
       {"yields", worker.yields},
       {"preempted_alloc", worker.preempted_alloc},
       {"preempted_async", worker.preempted_async},
       {"steals", worker.steals},
       {"wakes", worker.wakes},
       {"spawned", worker.spawned},
       {"exited", worker.exited},
       {"idle_ns", worker.idle_ns},
       {"timers_fired", worker.timers_fired},
       {"polls", worker.polls},
       {"hibernated", worker.hibernated},
       {"thawed", worker.thawed}};
}

nlohmann::json status_document(const DaemonSnapshot& daemon) {
  std::map<std::string, std::uint64_t> by_state;
  std::uint64_t restarts = 0;
  for (const PluginSnapshot& plugin : daemon.plugins) {
    ++by_state[plugin.state];
    restarts += plugin.restarts;
  }
  return {{"version", daemon.version},
          {"pid", daemon.pid},
          {"state", daemon.state},
          {"started_ms", daemon.started_ms},
          {"config_file", daemon.config_file},
          {"plugin_directories", daemon.plugin_directories},
          {"io_backend", daemon.io_backend},
          {"log_level", daemon.log_level},
          {"log_format", daemon.log_format},
          {"log_lost", daemon.log_lost},
          {"metrics_listen", daemon.metrics_listen},
          {"actors", daemon.actors},
          {"restarts", restarts},
          {"last_reload_ms", daemon.last_reload_ms},
          {"last_reload_error", daemon.last_reload_error},
          {"workers", daemon.workers},
          {"extra_workers", daemon.extra_workers},
          {"blocked_workers", daemon.blocked_workers},
          {"blocked_total", daemon.blocked_total},
          {"blocking_threads", daemon.blocking.threads},
          {"blocking_threads_limit", daemon.blocking.threads_limit},
          {"blocking_threads_idle", daemon.blocking.threads_idle},
          {"blocking_jobs_running", daemon.blocking.jobs_running},
          {"blocking_jobs_queued", daemon.blocking.jobs_queued},
          {"blocking_jobs_total", daemon.blocking.jobs_total},
          {"plugins", {{"total", daemon.plugins.size()}, {"by_state", by_state}}}};
}

void to_json(nlohmann::json& j, const DaemonSnapshot& daemon) {
  j = status_document(daemon);
  j["plugins"] = daemon.plugins;
}

}  // namespace smarmd
