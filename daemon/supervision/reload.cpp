#include "daemon/supervision/reload.hpp"

#include "daemon/config/keys.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace smarmd {

ReloadPlan plan_reload(const Config& running, const Config& next) {
  ReloadPlan plan{.effective = next, .applied = {}, .needs_restart = {}};
  for (const configuration::Key& key : configuration::keys()) {
    if (key.applies == configuration::Applies::live || key.of_override()) continue;
    if (const auto value = key.get(running, "")) key.set(plan.effective, "", *value);
  }
  ConfigDiff changes = diff(running, next);
  for (Change& c : changes.live) plan.applied.push_back(std::move(c.pointer));
  for (Change& c : changes.needs_restart) plan.needs_restart.push_back(std::move(c.pointer));
  return plan;
}

}  // namespace smarmd
