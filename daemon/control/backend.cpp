#include "daemon/control/backend.hpp"

#include <algorithm>

#include "daemon/config/suggest.hpp"

namespace smarmd {
namespace {

template <typename T, typename Projection>
std::string suggestion(std::string_view word, const std::vector<T>& from, Projection name) {
  std::vector<std::string> names;
  names.reserve(from.size());
  for (const T& item : from) names.emplace_back(std::invoke(name, item));
  const auto best = configuration::nearest(word, names);
  return best ? "did you mean \"" + *best + "\"? " : "";
}

const PluginSnapshot* find_plugin(const DaemonSnapshot& daemon, std::string_view name) {
  const auto it = std::ranges::find(daemon.plugins, name, &PluginSnapshot::name);
  return it == daemon.plugins.end() ? nullptr : &*it;
}

// The commands that name a plugin.
void handle_named(ControlBackend& backend, const Request& request, Reply reply) {
  auto name = plugin_name_of(request);
  if (!name) return reply.fail(name.error());
  const DaemonSnapshot daemon = backend.snapshot();
  const PluginSnapshot* plugin = find_plugin(daemon, *name);
  if (!plugin) return reply.fail(unknown_plugin(*name, daemon.plugins));
  if (request.command == "plugin") return reply.ok(*plugin);
  if (request.command == "restart") return backend.restart(std::move(*name), std::move(reply));
  backend.revive(std::move(*name), std::move(reply));
}

ControlError unknown_command(std::string_view command) {
  return {std::string(codes::kUnknownCommand),
          "unknown command \"" + std::string(command) + "\"",
          suggestion(command, commands(), &CommandInfo::name) + "`smarmctl --help` lists them",
          {}};
}

}  // namespace

ControlServer::Handler make_handler(ControlBackend& backend) {
  return [&backend](const Request& request, Reply reply) {
    const CommandInfo* info = find_command(request.command);
    if (!info) return reply.fail(unknown_command(request.command));
    if (info->takes_name) return handle_named(backend, request, std::move(reply));
    if (request.command == "reload") return backend.reload(std::move(reply));
    const DaemonSnapshot daemon = backend.snapshot();
    if (request.command == "status") return reply.ok(status_document(daemon));
    if (request.command == "plugins") return reply.ok({{"plugins", daemon.plugins}});
    reply.ok({{"smarmd", daemon.version}, {"protocol", kProtocolVersion}, {"pid", daemon.pid}});
  };
}

void answer_reload(const Reply& reply, std::vector<std::string> applied,
                   std::vector<std::string> needs_restart) {
  const int exit = needs_restart.empty() ? kExitOk : kExitNeedsRestart;
  reply.ok({{"applied", std::move(applied)}, {"needs_restart", std::move(needs_restart)}}, exit);
}

nlohmann::json action_result(const PluginSnapshot& plugin, std::string message) {
  return {{"plugin", plugin}, {"message", std::move(message)}};
}

ControlError unknown_plugin(std::string_view name, const std::vector<PluginSnapshot>& plugins) {
  return {std::string(codes::kUnknownPlugin),
          "there is no plugin \"" + std::string(name) + "\"",
          suggestion(name, plugins, &PluginSnapshot::name) + "`smarmctl plugins` lists them",
          {}};
}

}  // namespace smarmd
