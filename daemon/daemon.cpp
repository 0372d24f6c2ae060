#include "daemon/daemon.hpp"

#include "daemon/config/config.hpp"
#include "daemon/control/protocol.hpp"
#include "daemon/control/server.hpp"
#include "daemon/control/socket.hpp"
#include "daemon/log/events.hpp"
#include "daemon/log/logger.hpp"
#include "daemon/metrics/server.hpp"
#include "daemon/plugin/directory_watch.hpp"
#include "daemon/plugin/elf_info.hpp"
#include "daemon/plugin/image_store.hpp"
#include "daemon/plugin/plugin_files.hpp"
#include "daemon/supervision/async_preempt.hpp"
#include "daemon/supervision/daemon_backend.hpp"
#include "daemon/supervision/listeners.hpp"
#include "daemon/supervision/mailbox_reports.hpp"
#include "daemon/supervision/notices.hpp"
#include "daemon/supervision/quiet_lock.hpp"
#include "daemon/supervision/registry.hpp"
#include "daemon/supervision/report_limit.hpp"
#include "daemon/supervision/service_loop.hpp"
#include "daemon/supervision/status_board.hpp"
#include "daemon/supervision/supervisor_actor.hpp"
#include "daemon/supervision/tsc.hpp"

#include <sys/resource.h>
#include <unistd.h>
#include <smarm/smarm.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace smarmd {

namespace {

using namespace std::chrono_literals;

constexpr int kExitCannotStart = 1;
// What a shutdown may take beyond runtime.shutdown_ms: the kill, its grace, the end of the runtime.
constexpr std::chrono::milliseconds kShutdownMargin = 2 * kKillGrace + 3s;

using ConfigResult = std::expected<Config, std::vector<ConfigError>>;

// Blocks.
ConfigResult read_config(const DaemonOptions& options) {
  auto config = load_config(options.config_file);
  if (!config) return config;
  if (!options.plugin_directories.empty()) config->plugins.directory = options.plugin_directories;
  if (config->runtime.timeslice_us)
    (void)tsc_cycles_per_us();  // measured here, where waiting is allowed
  return config;
}

ConfigResult read_first_config(const DaemonOptions& options) {
  std::error_code ignored;
  if (options.config_file == kDefaultConfig &&
      !std::filesystem::exists(options.config_file, ignored)) {
    return std::unexpected(std::vector{ConfigError{
        .file = kDefaultConfig,
        .pointer = {},
        .message = "there is no configuration",
        .hint = "write {} into it for the defaults, or name another file: smarmd --config FILE"}});
  }
  return read_config(options);
}

int report_errors(const std::vector<ConfigError>& errors) {
  for (const ConfigError& e : errors) std::fprintf(stderr, "%s\n", e.text().c_str());
  return kExitInvalidConfig;
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

smarm::Config runtime_config(const RuntimeConfig& c) {
  smarm::Config r;
  if (c.threads != 0) r.workers(c.threads);
  return r.alloc_interval(c.alloc_interval)
      .timeslice_cycles(timeslice_cycles(c))
      .stack_size(std::size_t{c.stack_kib} * 1024)
      .io_backend(c.io_backend)
      .blocking_threads(c.blocking_threads)
      .on_fault(c.on_fault, smarm::FaultScope::plugins)
      .hibernate_after(std::chrono::milliseconds(c.hibernate_after_ms));
}

FileNews inspect_file(const std::filesystem::path& file) {
  return {.path = file, .gone = false, .info = plugin::inspect(file)};
}

class Daemon {
 public:
  Daemon(DaemonOptions options, Config config, TakenListeners taken)
      : options_(std::move(options)),
        config_(std::move(config)),
        taken_(std::move(taken)),
        logger_({.level = config_.log.level, .format = config_.log.format}) {
    std::tie(to_supervisor_, commands_) = smarm::channel<Command>();
  }

  int run();

 private:
  std::expected<void, std::string> start();
  std::expected<smarm::IoBackend, std::string> make_runtime();
  std::expected<void, std::string> start_servers();
  void start_watch();
  static void hear_blocked(const smarm_blocked* b, void* daemon);
  static void hear_panic(const smarm_panic* p, void* daemon);
  command::Scanned scan() const;
  void order_stop(ServiceLoop& loop);
  void order_kill(ServiceLoop& loop);
  [[noreturn]] void end_overdue();

  const DaemonOptions options_;
  const Config config_;
  const TakenListeners taken_;
  Logger logger_;
  Registry registry_{&actor_lives};
  StatusBoard board_;
  const Notices notices_{logger_, board_};
  const MailboxReports mailboxes_{logger_, board_};
  std::mutex panics_mutex_;
  ReportLimit panics_{10};  // by group
  smarm::Sender<Command> to_supervisor_;
  smarm::Receiver<Command> commands_;
  std::unique_ptr<plugin::ImageStore> store_;
  std::optional<smarm::Runtime> runtime_;
  std::optional<DaemonBackend> backend_;
  std::unique_ptr<ServiceLoop> service_;
  std::unique_ptr<ControlServer> control_;
  SocketPlace socket_;  // constant once service_ runs
  std::unique_ptr<MetricsServer> metrics_;
  std::unique_ptr<plugin::DirectoryWatch> watch_;
};

std::expected<void, std::string> Daemon::start() {
  logger_.log(Level::info, events::kDaemonStarting,
              "smarmd " SMARM_VERSION " starts, configured by " + options_.config_file.native(),
              {{"version", SMARM_VERSION}, {"file", options_.config_file.native()}});
  for (const std::string& name : taken_.twice) {
    logger_.log(Level::warn, events::kListenerRefused,
                "another socket named " + name +
                    " was passed and closed: give each its own FileDescriptorName=",
                {{"listener", name}});
  }
  auto store = plugin::ImageStore::open({.state_directory = config_.plugins.state_directory});
  if (!store) return std::unexpected("/plugins/state_directory: " + store.error());
  store_ = std::move(*store);
  smarm_mailbox_warn_at(config_.runtime.mailbox_warn);
  const auto io_backend = make_runtime();
  if (!io_backend) return std::unexpected("/runtime: " + io_backend.error());
  Config shown = config_;
  shown.runtime.io_backend = *io_backend;
  backend_.emplace(std::move(shown), options_.config_file, board_, logger_, *runtime_,
                   to_supervisor_);
  if (auto started = start_servers(); !started) return started;
  // Last: what it calls finds everything in its place. A signal that came before waits.
  auto service =
      ServiceLoop::start({.stop = [this](ServiceLoop& loop) { order_stop(loop); },
                          .kill = [this](ServiceLoop& loop) { order_kill(loop); },
                          .reload = [this] { (void)to_supervisor_.send(command::Reload{}); },
                          .heartbeat = [this] { return board_.beats(); },
                          .overdue = [this] { end_overdue(); }});
  if (!service) return std::unexpected(service.error());
  service_ = std::move(*service);
  return {};
}

// The backend that it got: another one than epoll may be missing on this machine.
std::expected<smarm::IoBackend, std::string> Daemon::make_runtime() {
  RuntimeConfig wanted = config_.runtime;
  std::string missing;
  for (;;) {
    try {
      runtime_.emplace(runtime_config(wanted)
                           .on_blocked(&Daemon::hear_blocked, this)
                           .on_panic(&Daemon::hear_panic, this));
      break;
    } catch (const std::exception& e) {
      if (wanted.io_backend == smarm::IoBackend::epoll) return std::unexpected(e.what());
      missing = e.what();
      wanted.io_backend = smarm::IoBackend::epoll;
    }
  }
  if (!missing.empty()) {
    logger_.log(Level::warn, events::kIoFallback,
                "/runtime/io_backend: " + missing + "; smarmd goes on with epoll",
                {{"wanted", name_of(config_.runtime.io_backend)}, {"reason", missing}});
  }
  set_async_preempt(runtime_->raw(), wanted, logger_);
  return wanted.io_backend;
}

// On the runtime's monitor.
void Daemon::hear_blocked(const smarm_blocked* b, void* daemon) {
  (void)static_cast<Daemon*>(daemon)->to_supervisor_.send(command::Blocked{BlockedActor(*b)});
}

// On a worker. Limited here: a plugin may panic faster than anybody can read.
void Daemon::hear_panic(const smarm_panic* p, void* self) {
  auto& daemon = *static_cast<Daemon*>(self);
  try {
    std::optional<std::uint64_t> suppressed;
    {
      const QuietLock lock(daemon.panics_mutex_);
      suppressed = daemon.panics_.admit(std::to_string(p->group), std::chrono::steady_clock::now());
    }
    if (suppressed)
      (void)daemon.to_supervisor_.send(command::Panicked{PanickedActor(*p, *suppressed)});
  } catch (const std::exception&) {  // out of memory: joiner and supervisor hear of it
  }
}

std::expected<void, std::string> Daemon::start_servers() {
  if (!config_.metrics.listen.empty()) {
    auto metrics = MetricsServer::start(
        {.listen = config_.metrics.listen}, [this] { return metrics_page(backend_->snapshot()); },
        &logger_);
    if (metrics) {
      metrics_ = std::move(*metrics);
      const auto colon = config_.metrics.listen.rfind(':');
      backend_->set_metrics_listen(config_.metrics.listen.substr(0, colon + 1) +
                                   std::to_string(metrics_->port()));
    } else {
      logger_.log(Level::error, events::kMetricsFailed,
                  "/metrics/listen: " + metrics.error() + "; smarmd goes on without metrics", {});
    }
  }
  auto control = ControlServer::start({.path = config_.control.socket, .version = SMARM_VERSION},
                                      make_handler(*backend_), &logger_);
  if (!control) return std::unexpected("/control/socket: " + control.error());
  control_ = std::move(*control);
  socket_ = control_->socket();
  start_watch();
  return {};
}

void Daemon::start_watch() {
  if (!config_.plugins.watch) return;
  auto watch = plugin::DirectoryWatch::start(
      config_.plugins.directory, [this](std::vector<plugin::Event> changes) {
        command::FilesChanged c;
        for (const plugin::Event& e : changes) {
          c.news.push_back(e.kind == plugin::Event::Kind::gone
                               ? FileNews{.path = e.path, .gone = true}
                               : inspect_file(e.path));
        }
        (void)to_supervisor_.send(std::move(c));
      });
  if (watch) {
    watch_ = std::move(*watch);
  } else {
    logger_.log(
        Level::error, events::kWatchFailed,
        "/plugins/watch: " + watch.error() + "; new files are found by `smarmctl reload` only", {});
  }
}

// Off the workers: reads directories and the heads of files.
command::Scanned Daemon::scan() const {
  command::Scanned all;
  if (watch_) {
    for (const auto& file : watch_->scan()) all.files.push_back(inspect_file(file));
    all.problems = watch_->problems();
    return all;
  }
  for (const auto& directory : config_.plugins.directory) {
    std::error_code error;
    if (!std::filesystem::is_directory(directory, error)) {
      all.problems.push_back(
          directory.native() +
          ": there is no such plugin directory; make it and run `smarmctl reload`");
    }
    for (const auto& file : plugin::plugin_files(directory))
      all.files.push_back(inspect_file(file));
  }
  return all;
}

void Daemon::order_stop(ServiceLoop& loop) {
  // The thread that holds the last word is told first: it ends the process even when no worker ever
  // runs the supervisor again.
  loop.end_by(std::chrono::milliseconds(config_.runtime.shutdown_ms) + kShutdownMargin);
  loop.notify("STOPPING=1\nSTATUS=stopping");
  (void)to_supervisor_.send(command::ShutDown{});
}

void Daemon::order_kill(ServiceLoop& loop) {
  loop.end_by(kShutdownMargin);
  (void)to_supervisor_.send(command::KillAll{});
}

void Daemon::end_overdue() {
  std::string names;
  for (const PluginView& p : board_.plugins()) {
    if (p.snapshot.state == "running" || p.snapshot.state == "stopping")
      names += (names.empty() ? "" : ", ") + p.snapshot.name;
  }
  logger_.log(Level::error, events::kDaemonStuck,
              names.empty() ? "actors that were killed have not ended; smarmd ends without them"
                            : "never came to an end: " + names + "; smarmd ends without them",
              {{"plugins", names}});
  (void)logger_.flush(1s);
  socket_.remove();
  ::_exit(kExitOk);
}

int Daemon::run() {
  if (const auto started = start(); !started) {
    logger_.log(Level::critical, events::kDaemonStopped, "smarmd cannot start: " + started.error(),
                {{"reason", started.error()}});
    return kExitCannotStart;
  }
  int exit = kExitOk;
  try {
    SupervisorActor supervisor(config_,
                               {.logger = logger_,
                                .store = *store_,
                                .board = board_,
                                .service = *service_,
                                .registry = registry_,
                                .listeners = taken_.listeners,
                                .scan = [this] { return scan(); },
                                .read_config = [this] { return read_config(options_); }},
                               to_supervisor_, std::move(commands_));
    runtime_->run([&supervisor] { supervisor.run(); });
  } catch (const std::exception& e) {
    logger_.log(Level::critical, events::kDaemonStopped,
                std::string("the supervisor failed: ") + e.what(), {{"reason", e.what()}});
    exit = kExitCannotStart;
  }
  // While smarmd-service still has the last word. After them only the log is left to end, which
  // gives up by itself.
  watch_.reset();
  control_.reset();
  metrics_.reset();
  backend_.reset();
  runtime_.reset();
  if (exit == kExitOk) logger_.log(Level::info, events::kDaemonStopped, "smarmd has stopped", {});
  return exit;
}

}  // namespace

int run_daemon(const DaemonOptions& options) {
  block_service_signals();
  std::signal(SIGPIPE, SIG_IGN);
  const auto config = read_first_config(options);
  if (!config) return report_errors(config.error());
  raise_descriptor_limit();
  return Daemon(options, *config, take_listeners()).run();
}

int check_config(const DaemonOptions& options) {
  const auto config = read_first_config(options);
  if (!config) return report_errors(config.error());
  std::string directories;
  for (const auto& d : config->plugins.directory)
    directories += (directories.empty() ? "" : ", ") + d.native();
  std::printf("ok: %s\n", options.config_file.c_str());
  std::printf("  plugins  %s (%zu override%s)\n", directories.c_str(),
              config->plugins.overrides.size(), config->plugins.overrides.size() == 1 ? "" : "s");
  std::printf("  workers  %s\n", config->runtime.threads == 0
                                     ? "one per usable CPU"
                                     : std::to_string(config->runtime.threads).c_str());
  std::printf("  control  %s\n", config->control.socket.c_str());
  std::printf("  metrics  %s\n",
              config->metrics.listen.empty() ? "off" : config->metrics.listen.c_str());
  return kExitOk;
}

}  // namespace smarmd
