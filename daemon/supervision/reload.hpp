// What a reload changes: pure functions of two configurations.
#pragma once

#include "daemon/config/config.hpp"

#include <string>
#include <vector>

namespace smarmd {

struct ReloadPlan {
  Config effective;                        // `next` where it can change live, else what runs
  std::vector<std::string> applied;        // JSON pointers that changed and take effect
  std::vector<std::string> needs_restart;  // JSON pointers that changed and do not
};

ReloadPlan plan_reload(const Config& running, const Config& next);

}  // namespace smarmd
