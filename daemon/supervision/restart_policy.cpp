#include "daemon/supervision/restart_policy.hpp"

#include <algorithm>

namespace smarmd {

std::string_view to_string(EndKind kind) {
  switch (kind) {
    case EndKind::exit: return "exit";
    case EndKind::panic: return "panic";
    case EndKind::killed: return "killed";
    case EndKind::stopped: return "stopped";
  }
  return "?";
}

RestartRules rules_of(const PluginPolicy& policy) {
  return {.type = policy.restart,
          .max_restarts = policy.max_restarts,
          .window = std::chrono::seconds(policy.window_s),
          .backoff_min = Milliseconds(policy.backoff.min_ms),
          .backoff_max = Milliseconds(policy.backoff.max_ms)};
}

Milliseconds backoff_delay(const RestartRules& rules, unsigned consecutive, double unit) {
  const Milliseconds low = std::min(rules.backoff_min, rules.backoff_max);
  Milliseconds high = low;
  // Doubles step by step: the shift would overflow long before a plugin gives up.
  for (unsigned n = 0; n < consecutive && high < rules.backoff_max; ++n) {
    high = high > rules.backoff_max / 2 ? rules.backoff_max : high * 2;
    if (high.count() == 0) break;  // a zero start stays at zero
  }
  const auto span = static_cast<double>((high - low).count());
  return low + Milliseconds(static_cast<Milliseconds::rep>(span * std::clamp(unit, 0.0, 1.0)));
}

Decision RestartBudget::on_end(const RestartRules& rules, EndKind kind, SteadyTime born,
                               SteadyTime now, double unit) {
  if (!wants_restart(rules.type, kind)) return {};
  while (!restarts_.empty() && now - restarts_.front() >= rules.window) restarts_.pop_front();
  if (restarts_.size() >= rules.max_restarts) {
    return {.verdict = Verdict::quarantine, .in_window = in_window(), .consecutive = consecutive_};
  }
  if (now - born > rules.window) consecutive_ = 0;
  restarts_.push_back(now);
  ++consecutive_;
  return {Verdict::restart, backoff_delay(rules, consecutive_, unit), in_window(), consecutive_};
}

void RestartBudget::reset() {
  restarts_.clear();
  consecutive_ = 0;
}

}  // namespace smarmd
