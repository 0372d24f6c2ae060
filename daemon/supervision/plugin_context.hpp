// What one life of a plugin sees of the daemon: the functions behind smarm::plugin::Context.
//
// Threads: any actor of the plugin may call any function; none parks, none throws. A context lives
// until the last actor of its group is gone.
#pragma once

#include "daemon/log/logger.hpp"
#include "daemon/supervision/listeners.hpp"
#include "daemon/supervision/registry.hpp"

#include <smarm/plugin.hpp>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace smarmd {

class PluginContext {
 public:
  // `group`: of the life's actors.
  PluginContext(std::string plugin, std::string config, std::uint64_t group, Logger& logger,
                Registry& registry, const Listeners& listeners);
  PluginContext(const PluginContext&) = delete;
  PluginContext& operator=(const PluginContext&) = delete;

  // From now on Context::stopping() is true.
  void stop() {
    stopping_.store(true, std::memory_order_relaxed);
  }  // relaxed: a flag that guards no other data

  const std::string& plugin() const { return plugin_; }

  static const smarm_plugin_host& host();

 private:
  static PluginContext& of(void* self) { return *static_cast<PluginContext*>(self); }
  static const char* config(void* self, std::size_t* length);
  static void log(void* self, int level, const char* text, std::size_t length);
  static int stopping(void* self);
  static int listener(void* self, const char* name, std::size_t length);
  static int publish(void* self, const char* name, std::size_t length, smarm_pid pid);
  static smarm_pid lookup(void* self, const char* name, std::size_t length);

  const std::string plugin_;
  const std::string config_;
  const std::uint64_t group_;
  Logger& logger_;
  Registry& registry_;
  const Listeners& listeners_;
  std::atomic<bool> stopping_{false};
};

}  // namespace smarmd
