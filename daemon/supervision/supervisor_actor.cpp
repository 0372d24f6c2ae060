#include "daemon/supervision/supervisor_actor.hpp"

#include "daemon/control/backend.hpp"
#include "daemon/log/events.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

namespace smarmd {

namespace {

using namespace std::chrono;

constexpr std::size_t kMessagesPerRound = 256;
// How long the runtime may take to end once every plugin has.
constexpr milliseconds kRuntimeEnd{3000};

// run() of the runtime does not end for want of work while one lives.
class Hold {
 public:
  Hold() : runtime_(smarm_runtime_current()) { smarm_runtime_hold(runtime_); }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  ~Hold() { smarm_runtime_release(runtime_); }

 private:
  smarm_runtime* runtime_;
};

}  // namespace

SupervisorActor::SupervisorActor(Config config, SupervisorParts parts, smarm::Sender<Command> self,
                                 smarm::Receiver<Command> commands)
    : parts_(std::move(parts)),
      self_(std::move(self)),
      commands_(std::move(commands)),
      config_(config),
      supervisor_(std::move(config), *this),
      random_(std::random_device{}()) {
  board_.log_level = name_of(config_.log.level);
}

void SupervisorActor::run() {
  const Hold hold;
  auto [mailbox, signals] = smarm::channel<smarm::Signal>();
  signals_ = std::move(signals);
  smarm::register_supervisor_channel(smarm::self_pid(), std::move(mailbox));
  show_phase("starting");
  work("scan", [scan = parts_.scan]() -> Command { return scan(); });
  while (!supervisor_.finished()) {
    wait();
    take_messages();
    smarm_process_check();  // after whatever a plugin did as it started or ended
    report_progress();
    parts_.board.beat();
  }
  say_goodbye();
}

// Until a message comes or something is due; under a watchdog at least twice in its interval, to
// turn the heartbeat.
void SupervisorActor::wait() {
  std::optional<nanoseconds> limit;
  if (const auto due = supervisor_.next_due())
    limit = std::max(*due - steady_clock::now(), nanoseconds(0));
  if (const auto watchdog = parts_.service.watchdog_interval())
    limit = std::min<nanoseconds>(limit.value_or(*watchdog), *watchdog / 2);
  (void)smarm::select_timeout(limit.value_or(smarm::Duration::max()), signals_, commands_);
}

void SupervisorActor::take_messages() {
  for (std::size_t n = 0; n < kMessagesPerRound; ++n) {
    const auto signal = signals_.try_recv();
    if (!signal) break;
    supervisor_.signalled(*signal);
  }
  for (std::size_t n = 0; n < kMessagesPerRound; ++n) {
    auto command = commands_.try_recv();
    if (!command) break;
    std::visit([this](auto& c) { on(std::move(c)); }, *command);
  }
  supervisor_.tick();
}

void SupervisorActor::report_progress() {
  std::vector<PluginView> plugins = supervisor_.views();
  std::string status = status_line(plugins);
  parts_.board.show_plugins(std::move(plugins));
  if (status != status_) {
    status_ = status;
    parts_.service.notify("STATUS=" +
                          (supervisor_.shutting_down() ? "stopping: " + status : status));
  }
  if (supervisor_.shutting_down() || !scanned_ || !supervisor_.settled()) return;
  if (!ready_) become_ready();
  if (reload_ == ReloadStage::settling) finish_reload();
}

void SupervisorActor::become_ready() {
  ready_ = true;
  show_phase("running");
  parts_.service.notify("READY=1\nSTATUS=" + status_);
  log(Level::info, events::kDaemonReady, "ready: " + status_, {});
}

void SupervisorActor::show_phase(std::string phase) {
  board_.phase = std::move(phase);
  parts_.board.show_state(board_);
}

// ---- files -------------------------------------------------------------------------------------

void SupervisorActor::on(command::FilesChanged c) { supervisor_.files_changed(std::move(c.news)); }

void SupervisorActor::on(command::Scanned c) {
  for (const std::string& problem : c.problems)
    log(Level::warn, events::kDirectoryMissing, problem, {});
  scanned_ = true;
  supervisor_.scanned(std::move(c.files));
}

void SupervisorActor::on(command::Loaded c) {
  --loading_;
  pump_loads();
  supervisor_.loaded(std::move(c.result));
}

void SupervisorActor::on(command::Unloaded c) {
  supervisor_.unloaded(c.plugin, *c.image, c.kept_because);
}

// Out of memory, most likely. What waits for the answer goes on without it; an image has a
// limit of its own.
void SupervisorActor::on(command::WorkFailed c) {
  log(Level::error, events::kWorkerStuck, "the helper \"" + c.work + "\" failed: " + c.reason,
      {{"actor", c.work}, {"reason", c.reason}});
  if (c.work == "scan") scanned_ = true;
  if (c.work == "load") {
    --loading_;
    pump_loads();
  }
  if (c.work == "read-config" && reload_ == ReloadStage::reading)
    refuse_config({ConfigError{.file = "configuration",
                               .pointer = {},
                               .message = "cannot be read: " + c.reason,
                               .hint = {}}});
}

// ---- commands ----------------------------------------------------------------------------------

void SupervisorActor::on(command::Restart c) { supervisor_.restart(c.plugin, std::move(c.reply)); }

void SupervisorActor::on(command::Revive c) { supervisor_.revive(c.plugin, std::move(c.reply)); }

void SupervisorActor::on(command::ShutDown) {
  if (supervisor_.shutting_down()) return;
  log(Level::info, events::kDaemonStopping,
      "stopping: every plugin gets its part of " + std::to_string(config_.runtime.shutdown_ms) +
          " ms",
      {{"shutdown_ms", config_.runtime.shutdown_ms}});
  show_phase("stopping");
  for (const Reply& r : std::exchange(reload_replies_, {}))
    r.fail(codes::kStopping, "the daemon is shutting down");
  for (const Reply& r : std::exchange(next_reload_replies_, {}))
    r.fail(codes::kStopping, "the daemon is shutting down");
  // What is still being tried would only hold up the end of the runtime.
  loads_.clear();
  parts_.store.cancel_probes();
  supervisor_.shut_down();
}

void SupervisorActor::on(command::KillAll) {
  on(command::ShutDown{});
  log(Level::warn, events::kDaemonStopping,
      "asked to stop a second time: every plugin is killed now", {});
  supervisor_.kill_all();
}

void SupervisorActor::say_goodbye() {
  report_progress();
  std::string names;
  for (const std::string& name : supervisor_.stuck()) names += (names.empty() ? "" : ", ") + name;
  if (!names.empty())
    log(Level::error, events::kDaemonStuck, "never came to an end: " + names, {{"plugins", names}});
  parts_.service.end_by(kRuntimeEnd);
}

// ---- reload ------------------------------------------------------------------------------------

void SupervisorActor::on(command::Reload c) {
  if (supervisor_.shutting_down()) {
    if (c.reply) c.reply->fail(codes::kStopping, "the daemon is shutting down");
    return;
  }
  if (reload_ != ReloadStage::none) {  // its caller may have written the file after this one was
                                       // read: once more
    reload_again_ = true;
    if (c.reply) next_reload_replies_.push_back(std::move(*c.reply));
    return;
  }
  if (c.reply) reload_replies_.push_back(std::move(*c.reply));
  read_config();
}

void SupervisorActor::read_config() {
  reload_ = ReloadStage::reading;
  show_phase("reloading");
  const auto usec = duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
  parts_.service.notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(usec));
  const bool started = work("read-config", [read = parts_.read_config]() -> Command {
    return command::ConfigRead{read()};
  });
  if (!started)
    refuse_config({ConfigError{.file = {},
                               .pointer = {},
                               .message = "no actor can be started to read it",
                               .hint = "see the line before"}});
}

void SupervisorActor::on(command::ConfigRead c) {
  if (supervisor_.shutting_down()) return;
  if (c.config) {
    apply_config(*c.config);
  } else {
    refuse_config(c.config.error());
  }
}

void SupervisorActor::refuse_config(const std::vector<ConfigError>& errors) {
  std::vector<std::string> lines;
  for (const ConfigError& e : errors) {
    lines.push_back(e.text());
    log(Level::error, events::kConfigRefused, e.text(),
        {{"file", e.file}, {"pointer", e.pointer}, {"reason", e.message}});
  }
  board_.last_reload_ms = unix_ms();
  board_.last_reload_error = lines.empty() ? "the configuration is invalid" : lines.front();
  const std::string count =
      std::to_string(lines.size()) + (lines.size() == 1 ? " error" : " errors");
  for (const Reply& r : std::exchange(reload_replies_, {})) {
    r.fail({.code = std::string(codes::kInvalidConfig),
            .message = "the configuration has " + count + "; nothing was changed",
            .hint = "mend it and reload again",
            .details = lines});
  }
  finish_reload();
}

void SupervisorActor::finish_reload() {
  if (reload_ == ReloadStage::settling) {
    for (const Reply& r : std::exchange(reload_replies_, {}))
      answer_reload(r, applied_, needs_restart_);
  }
  reload_ = ReloadStage::none;
  show_phase(ready_ ? "running" : "starting");
  if (ready_) parts_.service.notify("READY=1\nSTATUS=" + status_);
  if (!std::exchange(reload_again_, false)) return;
  reload_replies_ = std::exchange(next_reload_replies_, {});
  read_config();
}

void SupervisorActor::log(Level level, std::string_view event, std::string text, Fields fields) {
  parts_.logger.log(level, event, std::move(text), std::move(fields));
}

}  // namespace smarmd
