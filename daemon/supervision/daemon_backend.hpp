// What the control socket and the metrics endpoint see of the daemon, and how their requests reach
// the supervisor.
//
// Threads: the control thread and the metrics thread call it; nothing here waits for an actor.
#pragma once

#include "daemon/config/config.hpp"
#include "daemon/control/backend.hpp"
#include "daemon/log/logger.hpp"
#include "daemon/supervision/status_board.hpp"
#include "daemon/supervision/supervisor_command.hpp"

#include <smarm/channel.hpp>
#include <smarm/runtime.hpp>

#include <filesystem>
#include <string>

namespace smarmd {

class DaemonBackend final : public ControlBackend {
 public:
  // Everything outlives the backend. `config` is what the daemon runs with since its start.
  DaemonBackend(Config config, std::filesystem::path config_file, const StatusBoard& board,
                const Logger& logger, const smarm::Runtime& runtime,
                smarm::Sender<Command> supervisor);

  DaemonSnapshot snapshot() const override;
  void reload(Reply reply) override;
  void restart(std::string name, Reply reply) override;
  void revive(std::string name, Reply reply) override;

  // Before the servers that ask start.
  void set_metrics_listen(std::string address) { metrics_listen_ = std::move(address); }

 private:
  const Config config_;
  const std::filesystem::path config_file_;
  const StatusBoard& board_;
  const Logger& logger_;
  const smarm::Runtime& runtime_;
  const smarm::Sender<Command> supervisor_;
  const std::int64_t started_ms_;
  std::string metrics_listen_;
};

// The page of GET /metrics.
std::string metrics_page(const DaemonSnapshot& daemon);

}  // namespace smarmd
