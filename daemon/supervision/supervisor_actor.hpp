// The supervisor actor: runs the PluginSupervisor inside the runtime.
//
// It is the first actor of the daemon. It hears of the ends of the plugins' root actors by a Signal
// mailbox, as user code does, and of everything else by a channel of commands. What may block
// (reading files, the probe, dlopen, dlclose, the loader's lock) is done by helper actors through
// block_on_io, which send the result back as a command; so a plugin that hangs while it is loaded
// keeps nobody else waiting.
//
// Threads: run() is the actor's body. Nothing else is called from outside; send commands.
#pragma once

#include "daemon/config/config.hpp"
#include "daemon/log/events.hpp"
#include "daemon/log/logger.hpp"
#include "daemon/plugin/image_store.hpp"
#include "daemon/supervision/plugin_context.hpp"
#include "daemon/supervision/plugin_supervisor.hpp"
#include "daemon/supervision/registry.hpp"
#include "daemon/supervision/report_limit.hpp"
#include "daemon/supervision/service_loop.hpp"
#include "daemon/supervision/status_board.hpp"
#include "daemon/supervision/supervisor_command.hpp"

#include <smarm/smarm.hpp>

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace smarmd {

// What the actor works with; all of it outlives run(). The functions may block: they are called off
// the workers.
struct SupervisorParts {
  Logger& logger;
  plugin::ImageStore& store;
  StatusBoard& board;
  ServiceLoop& service;
  Registry& registry;
  const Listeners& listeners;
  std::function<command::Scanned()> scan;
  std::function<std::expected<Config, std::vector<ConfigError>>()> read_config;
};

class SupervisorActor final : private SupervisorEffects {
 public:
  // At most so many files are probed and loaded at once.
  static constexpr unsigned kLoadsAtOnce = 4;

  SupervisorActor(Config config, SupervisorParts parts, smarm::Sender<Command> self,
                  smarm::Receiver<Command> commands);

  // Runs until a shutdown is finished.
  void run();

 private:
  // SupervisorEffects
  SteadyTime now() override;
  std::int64_t unix_ms() override;
  double random() override;
  void load(LoadOrder order) override;
  void unload(std::string plugin, ImagePtr image) override;
  std::expected<smarm::Pid, std::string> start(const RootOrder& order) override;
  void ask_stop(smarm::Pid root, std::uint64_t group) override;
  void kill(std::uint64_t group) override;
  std::size_t actors_of(std::uint64_t group) override;
  void forget(std::uint64_t group) override;
  void limit_mailboxes(std::uint64_t account, std::uint64_t messages) override;
  void close_account(std::uint64_t account) override;
  void log(Level level, std::string_view event, std::string text, Fields fields) override;

  void on(command::FilesChanged c);
  void on(command::Scanned c);
  void on(command::Loaded c);
  void on(command::Unloaded c);
  void on(command::Blocked c);
  void on(command::Panicked c);
  void on(command::WorkFailed c);
  void on(command::Reload c);
  void on(command::ConfigRead c);
  void on(command::Restart c);
  void on(command::Revive c);
  void on(command::ShutDown);
  void on(command::KillAll);

  void wait();
  void take_messages();
  void pump_loads();
  void report_progress();
  void become_ready();
  void read_config();
  void refuse_config(const std::vector<ConfigError>& errors);
  void apply_config(const Config& next);
  void tune_runtime(const RuntimeConfig& before);
  std::string plugin_of(std::uint64_t group) const;  // "smarmd" for the daemon's own actors
  void finish_reload();
  void show_phase(std::string phase);
  void say_goodbye();
  // Runs the job off the workers, after the delay, in an actor that nobody waits for, and sends the
  // Command that it returns, or WorkFailed. False when no actor could be started.
  template <class Job>
  bool work(const char* name, Job job, Milliseconds delay = Milliseconds(0)) {
    try {
      (void)smarm::spawn_under(smarm::ROOT_PID, {.name = name},
                               [name, job = std::move(job), to = self_, delay]() mutable {
                                 if (delay.count() > 0) smarm::sleep(delay);
                                 try {
                                   (void)to.send(smarm::block_on_io(job));
                                 } catch (const std::exception& e) {
                                   (void)to.send(command::WorkFailed{name, e.what()});
                                 }
                               });
      return true;
    } catch (const smarm::SpawnError& e) {
      log(Level::error, events::kWorkerStuck,
          std::string("the supervisor cannot start a helper: ") + e.what(), {{"actor", name}});
      return false;
    }
  }

  const SupervisorParts parts_;
  const smarm::Sender<Command> self_;
  smarm::Receiver<Command> commands_;
  smarm::Receiver<smarm::Signal> signals_;
  Config config_;
  PluginSupervisor supervisor_;
  std::mt19937_64 random_;
  std::map<std::uint64_t, std::shared_ptr<PluginContext>>
      contexts_;  // by group, until the group is empty
  ReportLimit blocked_{1};
  std::deque<LoadOrder> loads_;
  unsigned loading_ = 0;

  enum class ReloadStage { none, reading, settling };
  ReloadStage reload_ = ReloadStage::none;
  bool reload_again_ = false;
  std::vector<Reply> reload_replies_, next_reload_replies_;
  std::vector<std::string> applied_, needs_restart_;

  BoardState board_;
  std::string status_;
  bool scanned_ = false, ready_ = false;
};

}  // namespace smarmd
