// Which plugins must be up before which: the `needs` of their descriptors.
//
// Pure functions of names and states; any thread.
#pragma once

#include "daemon/supervision/plugin_life.hpp"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace smarmd {

// What the search for needs may ask of the other plugins.
struct NeedsView {
  std::function<std::optional<PluginState>(std::string_view name)>
      state;  // nullopt: there is no such plugin
  std::function<std::vector<std::string>(std::string_view name)> needs;  // of a plugin that exists
};

struct NeedsAnswer {
  enum class Kind { met, wait, refuse } kind = Kind::met;
  std::string need;    // wait, refuse: the plugin that it is about
  std::string reason;  // refuse: one line, what is wrong and what to do
};

// May the plugin start now? wait: a need is on its way up. refuse: a need is missing, will not come
// up by itself, or needs this plugin in turn.
NeedsAnswer check_needs(std::string_view name, const std::vector<std::string>& needs,
                        const NeedsView& view);

}  // namespace smarmd
