#include "daemon/supervision/needs.hpp"

#include <set>

namespace smarmd {

namespace {

// The circle of needs from a name back to itself. Depth-first; every plugin is entered once.
class CircleSearch {
 public:
  CircleSearch(std::string_view name, const NeedsView& view) : name_(name), view_(view) {}
  bool found() { return from(name_); }
  const std::vector<std::string>& path() const { return path_; }

 private:
  bool from(std::string_view at) {
    for (const std::string& need : view_.needs(at)) {
      if (need == name_) return true;
      if (!view_.state(need) || !seen_.insert(need).second) continue;
      path_.push_back(need);
      if (from(need)) return true;
      path_.pop_back();
    }
    return false;
  }

  const std::string name_;
  const NeedsView& view_;
  std::set<std::string> seen_;
  std::vector<std::string> path_;
};

std::string circle_text(std::string_view name, const std::vector<std::string>& path) {
  std::string text(name);
  for (const std::string& step : path) text += " -> " + step;
  return text + " -> " + std::string(name);
}

NeedsAnswer refuse(std::string_view need, std::string reason) {
  return {NeedsAnswer::Kind::refuse, std::string(need), std::move(reason)};
}

std::string what_brings_up(std::string_view need, PluginState state) {
  const std::string n(need);
  switch (state) {
    case PluginState::quarantined:
      return "run `smarmctl revive " + n + "` or install a good image of it";
    case PluginState::disabled: return "enable it: /plugins/overrides/" + n + "/enabled";
    case PluginState::stopped: return "run `smarmctl restart " + n + "`";
    default: return "see why in `smarmctl plugins`";
  }
}

}  // namespace

NeedsAnswer check_needs(std::string_view name, const std::vector<std::string>& needs,
                        const NeedsView& view) {
  for (const std::string& need : needs) {
    if (!view.state(need)) {
      return refuse(
          need, "it needs the plugin \"" + need +
                    "\", which is not there; it starts when a file with that plugin is installed");
    }
  }
  if (CircleSearch circle(name, view); circle.found()) {
    const std::string first = circle.path().empty() ? std::string(name) : circle.path().front();
    return refuse(first, "it needs itself: " + circle_text(name, circle.path()) +
                             "; remove one of these from .needs");
  }
  NeedsAnswer answer;
  for (const std::string& need : needs) {
    const PluginState state = *view.state(need);
    switch (state) {
      case PluginState::running: break;
      case PluginState::found:
      case PluginState::loading:
      case PluginState::stopping:
      case PluginState::backing_off:
        if (answer.kind == NeedsAnswer::Kind::met) answer = {NeedsAnswer::Kind::wait, need, {}};
        break;
      default:
        return refuse(need, "it needs the plugin \"" + need + "\", which is " +
                                std::string(to_string(state)) + "; " + what_brings_up(need, state));
    }
  }
  return answer;
}

}  // namespace smarmd
