// What the plugin supervisor asks of the world around it.
//
// The supervisor's logic (plugin_supervisor.hpp) is free of the runtime, of threads and of the
// clock: it hears events and calls these. In the daemon the supervisor actor implements them
// (supervisor_actor.hpp); in the tests a recorder does. Nothing here may wait: work that takes time
// answers with an event.
#pragma once

#include "daemon/log/record.hpp"
#include "daemon/plugin/image.hpp"
#include "daemon/plugin/image_store.hpp"
#include "daemon/supervision/restart_policy.hpp"

#include <smarm/pid.hpp>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace smarmd {

// One opened generation of a plugin.
struct LoadedImage {
  plugin::PrivateImage file;
  std::unique_ptr<plugin::Image> code;
  bool pinned = false;  // an actor of it never ended: its code must stay mapped
};
using ImagePtr = std::shared_ptr<LoadedImage>;

struct LoadOrder {
  std::string plugin;
  std::uint64_t ticket = 0;
  std::filesystem::path file;
  std::optional<std::uint64_t>
      running;  // hash of the image in use: the same bytes are not loaded again
};
// The answer. A null image: the bytes are those of the image in use.
struct LoadResult {
  std::string plugin;
  std::uint64_t ticket = 0;
  std::expected<ImagePtr, std::string> image;
};

struct RootOrder {
  std::string plugin;
  ImagePtr image;
  std::uint64_t group = 0;
  std::uint64_t account = 0;  // the group's
  std::string config;
  std::uint64_t mailbox_limit = 0;
};

class SupervisorEffects {
 public:
  virtual ~SupervisorEffects() = default;

  virtual SteadyTime now() = 0;
  virtual std::int64_t unix_ms() = 0;
  virtual double random() = 0;  // [0, 1)

  // Answers with PluginSupervisor::loaded().
  virtual void load(LoadOrder order) = 0;
  // Unloads off the workers; answers with PluginSupervisor::unloaded(). No actor of the image is
  // left.
  virtual void unload(std::string plugin, ImagePtr image) = 0;

  virtual std::expected<smarm::Pid, std::string> start(const RootOrder& order) = 0;
  virtual void ask_stop(smarm::Pid root, std::uint64_t group) = 0;
  virtual void kill(std::uint64_t group) = 0;  // every actor of the group, the root among them
  virtual std::size_t actors_of(std::uint64_t group) = 0;
  virtual void forget(std::uint64_t group) = 0;  // the group is empty: what its life held may go

  // Of the plugin's lives, this one included.
  virtual void limit_mailboxes(std::uint64_t account, std::uint64_t messages) = 0;
  virtual void close_account(std::uint64_t account) = 0;

  virtual void log(Level level, std::string_view event, std::string text, Fields fields) = 0;
};

}  // namespace smarmd
