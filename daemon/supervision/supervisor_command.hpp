// What the supervisor actor is told, besides the ends of its children. Send is legal from any
// thread.
#pragma once

#include "daemon/config/config.hpp"
#include "daemon/control/reply.hpp"
#include "daemon/supervision/blocked_reports.hpp"
#include "daemon/supervision/panic_reports.hpp"
#include "daemon/supervision/plugin_record.hpp"
#include "daemon/supervision/supervisor_effects.hpp"

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace smarmd {

namespace command {

struct FilesChanged {  // from the directory watch
  std::vector<FileNews> news;
};
struct Scanned {  // every plugin file there is, and a line for each directory that cannot be read
  std::vector<FileNews> files;
  std::vector<std::string> problems;
};
struct Loaded {
  LoadResult result;
};
struct Unloaded {
  std::string plugin;
  ImagePtr image;
  std::string kept_because;  // empty: it is unmapped
};
struct Blocked {  // from the runtime's monitor
  BlockedActor actor;
};
struct Panicked {  // from the worker of an actor that ends
  PanickedActor actor;
};
struct WorkFailed {  // a helper actor ended without its command
  std::string work, reason;
};
struct Reload {  // from SIGHUP (no reply) or the control socket
  std::optional<Reply> reply;
};
struct ConfigRead {
  std::expected<Config, std::vector<ConfigError>> config;
};
struct Restart {
  std::string plugin;
  Reply reply;
};
struct Revive {
  std::string plugin;
  Reply reply;
};
struct ShutDown {};
struct KillAll {};

}  // namespace command

using Command =
    std::variant<command::FilesChanged, command::Scanned, command::Loaded, command::Unloaded,
                 command::Blocked, command::Panicked, command::WorkFailed, command::Reload,
                 command::ConfigRead, command::Restart, command::Revive, command::ShutDown,
                 command::KillAll>;

}  // namespace smarmd
