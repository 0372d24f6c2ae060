// ControlBackend: what the control server needs from the daemon. The supervisor's side implements
// it.
#pragma once

#include <string>

#include "daemon/control/reply.hpp"
#include "daemon/control/server.hpp"
#include "daemon/control/snapshot.hpp"

namespace smarmd {

// Every function is called by the control thread and must return at once: it copies out, or hands
// the Reply on.
class ControlBackend {
 public:
  virtual ~ControlBackend() = default;

  // Never waits for an actor.
  virtual DaemonSnapshot snapshot() const = 0;

  // Answer with reload_result() below, or with code invalid_config and one detail per error.
  virtual void reload(Reply reply) = 0;
  // The name is known not to be empty; unknown ones are answered with unknown_plugin() below.
  // Answer with action_result().
  virtual void restart(std::string name, Reply reply) = 0;
  virtual void revive(std::string name, Reply reply) = 0;
};

// Maps the commands of the protocol on a backend. The backend must outlive the server that has the
// handler.
ControlServer::Handler make_handler(ControlBackend& backend);

// The pointers are JSON pointers. A reload that left something for a restart answers with exit 5.
void answer_reload(const Reply& reply, std::vector<std::string> applied,
                   std::vector<std::string> needs_restart);
// message: one line for people, "restarted echo: pid 3.1 is now 9.2".
nlohmann::json action_result(const PluginSnapshot& plugin, std::string message);
// Names the nearest plugin that exists.
ControlError unknown_plugin(std::string_view name, const std::vector<PluginSnapshot>& plugins);

}  // namespace smarmd
