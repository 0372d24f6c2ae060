#include "daemon/supervision/daemon_backend.hpp"

#include "daemon/metrics/writer.hpp"
#include "daemon/supervision/plugin_life.hpp"

#include <smarm/smarm.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <utility>

namespace smarmd {

namespace {

std::int64_t unix_ms_now() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

WorkerSnapshot to_snapshot(const smarm::WorkerStats& w) {
  return {.resumes = w.resumes,
          .parks = w.parks,
          .yields = w.yields,
          .preempted_alloc = w.preempted_alloc,
          .preempted_async = w.preempted_async,
          .steals = w.steals,
          .wakes = w.wakes,
          .spawned = w.spawned,
          .exited = w.exited,
          .idle_ns = w.idle_ns,
          .timers_fired = w.timers_fired,
          .polls = w.polls,
          .hibernated = w.hibernated,
          .thawed = w.thawed};
}

void worker_metrics(MetricsWriter& page, const std::vector<WorkerSnapshot>& workers) {
  const auto each = [&](MetricName name, const char* help, std::uint64_t WorkerSnapshot::* field) {
    page.family(name, MetricType::counter, help);
    for (std::size_t i = 0; i < workers.size(); ++i)
      page.sample({{"worker", std::to_string(i)}}, workers[i].*field);
  };
  each("smarm_worker_resumes_total", "Actors switched to.", &WorkerSnapshot::resumes);
  each("smarm_worker_parks_total", "Waits that left the stack.", &WorkerSnapshot::parks);
  each("smarm_worker_yields_total", "Explicit yields.", &WorkerSnapshot::yields);
  each("smarm_worker_preempted_alloc_total",
       "Implicit yields at an allocation, another tick or a taken OS lock.",
       &WorkerSnapshot::preempted_alloc);
  each("smarm_worker_preempted_async_total", "Preemptions by signal.",
       &WorkerSnapshot::preempted_async);
  each("smarm_worker_steals_total", "Actors taken from another worker.", &WorkerSnapshot::steals);
  each("smarm_worker_wakes_total", "Other workers woken.", &WorkerSnapshot::wakes);
  each("smarm_worker_spawned_total", "Actors made.", &WorkerSnapshot::spawned);
  each("smarm_worker_exited_total", "Actors ended.", &WorkerSnapshot::exited);
  each("smarm_worker_timers_fired_total", "Timers that ran out.", &WorkerSnapshot::timers_fired);
  each("smarm_worker_polls_total", "Looks at the poller.", &WorkerSnapshot::polls);
  each("smarm_worker_hibernated_total", "Stacks of parked actors packed away.",
       &WorkerSnapshot::hibernated);
  each("smarm_worker_thawed_total", "Stacks unpacked for actors that woke.",
       &WorkerSnapshot::thawed);
  page.family("smarm_worker_idle_seconds_total", MetricType::counter,
              "Time spent waiting for work.");
  for (std::size_t i = 0; i < workers.size(); ++i) {
    page.sample({{"worker", std::to_string(i)}}, static_cast<double>(workers[i].idle_ns) * 1e-9);
  }
}

// The fullest mailbox of each account.
std::map<std::uint64_t, std::uint64_t> fullest_mailboxes() {
  std::vector<smarm_mailbox_info> all(smarm_mailbox_list(nullptr, 0));
  all.resize(std::min(all.size(), smarm_mailbox_list(all.data(), all.size())));
  std::map<std::uint64_t, std::uint64_t> fullest;
  for (const smarm_mailbox_info& m : all)
    fullest[m.account] = std::max(fullest[m.account], m.depth);
  return fullest;
}

// Jobs of block_on_io, by account.
std::map<std::uint64_t, smarm_blocking_owner> blocking_owners(smarm_runtime* runtime) {
  std::vector<smarm_blocking_owner> all(smarm_runtime_blocking_owners(runtime, nullptr, 0));
  all.resize(std::min(all.size(), smarm_runtime_blocking_owners(runtime, all.data(), all.size())));
  std::map<std::uint64_t, smarm_blocking_owner> owners;
  for (const smarm_blocking_owner& o : all) owners[o.account] = o;
  return owners;
}

BlockingSnapshot to_snapshot(const smarm_blocking_stats& b) {
  return {.threads = b.threads,
          .threads_limit = b.limit,
          .threads_idle = b.idle,
          .jobs_running = b.running,
          .jobs_queued = b.queued,
          .jobs_total = b.done_total};
}

void add_account(PluginSnapshot& p, std::uint64_t account) {
  smarm_account_stats stats{};
  stats.struct_size = sizeof stats;
  if (smarm_account_read(account, &stats)) return;  // it has never started
  p.preempted_alloc = stats.preempted_alloc;
  p.preempted_async = stats.preempted_async;
  p.mailbox_refused = stats.mailbox_refused;
  p.blocked = stats.blocked;
}

// Refused files that belong to no plugin are only counted: two of them may show the same name.
void plugin_metrics(MetricsWriter& page, std::vector<PluginSnapshot> plugins) {
  const std::size_t files = std::erase_if(plugins, std::mem_fn(&PluginSnapshot::only_file));
  page.family("smarm_refused_files", MetricType::gauge,
              "Plugin files that were refused and belong to no plugin.");
  page.sample(files);
  page.family("smarm_actors", MetricType::gauge, "Live actors of a plugin.");
  for (const PluginSnapshot& p : plugins) page.sample({{"plugin", p.name}}, p.actors);
  page.family("smarm_preemptions_total", MetricType::counter,
              "Implicit yields of a plugin's actors: at an allocation, another tick or a taken OS "
              "lock (allocator), or by signal.");
  for (const PluginSnapshot& p : plugins) {
    page.sample({{"plugin", p.name}, {"kind", "allocator"}}, p.preempted_alloc);
    page.sample({{"plugin", p.name}, {"kind", "signal"}}, p.preempted_async);
  }
  page.family("smarm_blocked_total", MetricType::counter,
              "Times that an actor of the plugin was found to block its thread in a system call.");
  for (const PluginSnapshot& p : plugins) page.sample({{"plugin", p.name}}, p.blocked);
  page.family("smarm_blocking_jobs_running", MetricType::gauge,
              "Jobs of block_on_io that a thread runs for the plugin.");
  for (const PluginSnapshot& p : plugins)
    page.sample({{"plugin", p.name}}, p.blocking_jobs_running);
  page.family("smarm_blocking_jobs_queued", MetricType::gauge,
              "Jobs of block_on_io that wait for a thread or the plugin's turn.");
  for (const PluginSnapshot& p : plugins) page.sample({{"plugin", p.name}}, p.blocking_jobs_queued);
  page.family("smarm_blocking_jobs_total", MetricType::counter,
              "Jobs of block_on_io that have ended.");
  for (const PluginSnapshot& p : plugins) page.sample({{"plugin", p.name}}, p.blocking_jobs_total);
  page.family("smarm_mailbox_depth_max", MetricType::gauge,
              "Messages in the plugin's fullest mailbox; 0 while none was ever 512 behind.");
  for (const PluginSnapshot& p : plugins) page.sample({{"plugin", p.name}}, p.mailbox_depth_max);
  page.family("smarm_mailbox_refused_total", MetricType::counter,
              "Messages that mailbox_limit refused.");
  for (const PluginSnapshot& p : plugins) page.sample({{"plugin", p.name}}, p.mailbox_refused);
  page.family("smarm_plugin_state", MetricType::gauge, "1 for the state that the plugin is in.");
  for (const PluginSnapshot& p : plugins) page.sample({{"plugin", p.name}, {"state", p.state}}, 1);
  page.family("smarm_plugin_restarts_total", MetricType::counter,
              "Restarts since the plugin's image was loaded.");
  for (const PluginSnapshot& p : plugins) page.sample({{"plugin", p.name}}, p.restarts);
  page.family("smarm_plugin_generation", MetricType::gauge, "Generation of the plugin's image.");
  for (const PluginSnapshot& p : plugins) page.sample({{"plugin", p.name}}, p.generation);
  page.family("smarm_plugin_resident_images", MetricType::gauge,
              "Older images of the plugin that are still mapped.");
  for (const PluginSnapshot& p : plugins) page.sample({{"plugin", p.name}}, p.resident_images);
}

}  // namespace

DaemonBackend::DaemonBackend(Config config, std::filesystem::path config_file,
                             const StatusBoard& board, const Logger& logger,
                             const smarm::Runtime& runtime, smarm::Sender<Command> supervisor)
    : config_(std::move(config)),
      config_file_(std::move(config_file)),
      board_(board),
      logger_(logger),
      runtime_(runtime),
      supervisor_(std::move(supervisor)),
      started_ms_(unix_ms_now()) {}

DaemonSnapshot DaemonBackend::snapshot() const {
  const BoardState state = board_.state();
  const smarm::Stats stats = runtime_.stats();
  DaemonSnapshot s;
  s.version = SMARM_VERSION;
  s.pid = ::getpid();
  s.state = state.phase;
  s.started_ms = started_ms_;
  s.config_file = config_file_.native();
  for (const auto& directory : config_.plugins.directory)
    s.plugin_directories.push_back(directory.native());
  s.io_backend = name_of(config_.runtime.io_backend);
  s.log_level = state.log_level;
  s.log_format = name_of(logger_.format());
  s.metrics_listen = metrics_listen_;
  s.actors = stats.live;
  s.extra_workers = stats.extras;
  s.blocked_workers = stats.blocked;
  s.blocked_total = stats.blocked_total;
  s.blocking = to_snapshot(stats.blocking);
  s.log_lost = logger_.stats().lost;
  s.last_reload_ms = state.last_reload_ms;
  s.last_reload_error = state.last_reload_error;
  for (const smarm::WorkerStats& w : stats.workers) s.workers.push_back(to_snapshot(w));
  const std::map<std::uint64_t, std::uint64_t> fullest = fullest_mailboxes();
  const std::map<std::uint64_t, smarm_blocking_owner> owners = blocking_owners(runtime_.raw());
  for (PluginView& view : board_.plugins()) {
    if (view.group != 0) view.snapshot.actors = smarm_group_count(view.group);
    if (view.account != 0) {
      add_account(view.snapshot, view.account);
      if (const auto it = fullest.find(view.account); it != fullest.end())
        view.snapshot.mailbox_depth_max = it->second;
      if (const auto it = owners.find(view.account); it != owners.end()) {
        view.snapshot.blocking_jobs_running = it->second.running;
        view.snapshot.blocking_jobs_queued = it->second.queued;
        view.snapshot.blocking_jobs_total = it->second.done_total;
      }
    }
    s.plugins.push_back(std::move(view.snapshot));
  }
  return s;
}

void DaemonBackend::reload(Reply reply) {
  (void)supervisor_.send(command::Reload{std::move(reply)});
}

void DaemonBackend::restart(std::string name, Reply reply) {
  (void)supervisor_.send(command::Restart{std::move(name), std::move(reply)});
}

void DaemonBackend::revive(std::string name, Reply reply) {
  (void)supervisor_.send(command::Revive{std::move(name), std::move(reply)});
}

std::string metrics_page(const DaemonSnapshot& daemon) {
  MetricsWriter page;
  page.family("smarm_build_info", MetricType::gauge, "1, labelled with the version of smarmd.");
  page.sample({{"version", daemon.version}}, 1);
  page.family("smarm_start_time_seconds", MetricType::gauge, "When the daemon started, Unix time.");
  page.sample(static_cast<double>(daemon.started_ms) * 1e-3);
  page.family("smarm_live_actors", MetricType::gauge,
              "Actors of the whole daemon that were spawned and have not ended.");
  page.sample(daemon.actors);
  page.family("smarm_log_lost_total", MetricType::counter,
              "Log records that a full queue dropped.");
  page.sample(daemon.log_lost);
  page.family("smarm_workers_blocked", MetricType::gauge,
              "Workers whose thread an actor blocks in a system call.");
  page.sample(daemon.blocked_workers);
  page.family("smarm_workers_blocked_total", MetricType::counter,
              "Times that a worker was found blocked.");
  page.sample(daemon.blocked_total);
  page.family("smarm_workers_extra", MetricType::gauge,
              "Extra workers that run in the place of blocked ones.");
  page.sample(daemon.extra_workers);
  page.family("smarm_blocking_threads", MetricType::gauge,
              "Threads of block_on_io, the idle ones included.");
  page.sample(daemon.blocking.threads);
  page.family("smarm_blocking_threads_limit", MetricType::gauge,
              "The most threads that block_on_io may use.");
  page.sample(daemon.blocking.threads_limit);
  plugin_metrics(page, daemon.plugins);
  worker_metrics(page, daemon.workers);
  return std::move(page).text();
}

}  // namespace smarmd
