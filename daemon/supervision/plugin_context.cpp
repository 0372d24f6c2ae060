#include "daemon/supervision/plugin_context.hpp"

#include "daemon/log/events.hpp"

#include <fcntl.h>

#include <algorithm>
#include <new>
#include <utility>

namespace smarmd {

PluginContext::PluginContext(std::string plugin, std::string config, std::uint64_t group,
                             Logger& logger, Registry& registry, const Listeners& listeners)
    : plugin_(std::move(plugin)),
      config_(std::move(config)),
      group_(group),
      logger_(logger),
      registry_(registry),
      listeners_(listeners) {}

const smarm_plugin_host& PluginContext::host() {
  static constexpr smarm_plugin_host kHost = {.struct_size = sizeof(smarm_plugin_host),
                                              .config = &PluginContext::config,
                                              .log = &PluginContext::log,
                                              .stopping = &PluginContext::stopping,
                                              .listener = &PluginContext::listener,
                                              .publish = &PluginContext::publish,
                                              .lookup = &PluginContext::lookup};
  return kHost;
}

const char* PluginContext::config(void* self, std::size_t* length) {
  *length = of(self).config_.size();
  return of(self).config_.c_str();
}

// Catches what it can name and nothing else: a killed actor unwinds through here by forced
// unwinding, which catch (...) would disturb.
void PluginContext::log(void* self, int level, const char* text, std::size_t length) {
  PluginContext& c = of(self);
  const Level l = level_from_number(level);
  if (!c.logger_.enabled(l)) return;
  try {
    c.logger_.log(l, events::kPluginLog, std::string(text, std::min(length, Logger::kMaxText)),
                  {{"plugin", c.plugin_}, {"actor", smarm::Pid(smarm_self()).to_string()}});
  } catch (const std::bad_alloc&) {
    Logger::emergency("smarmd: out of memory: a line of a plugin is lost");
  }
}

int PluginContext::stopping(void* self) {
  return of(self).stopping_.load(std::memory_order_relaxed) ? 1 : 0;
}

int PluginContext::listener(void* self, const char* name, std::size_t length) {
  const Listeners& all = of(self).listeners_;
  const auto at = all.find(std::string_view(name, length));
  return at == all.end() ? -1 : ::fcntl(at->second, F_DUPFD_CLOEXEC, 3);
}

int PluginContext::publish(void* self, const char* name, std::size_t length, smarm_pid pid) {
  try {
    PluginContext& c = of(self);
    return c.registry_.publish({name, length}, smarm::Pid(pid), c.group_) ? 0 : -1;
  } catch (const std::bad_alloc&) {
    return -1;
  }
}

smarm_pid PluginContext::lookup(void* self, const char* name, std::size_t length) {
  try {
    return of(self).registry_.lookup({name, length}).raw();
  } catch (const std::bad_alloc&) {
    return smarm::ROOT_PID.raw();
  }
}

}  // namespace smarmd
