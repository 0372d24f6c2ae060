// The restart policy: does a plugin that ended start again, and after what delay?
//
// What it is   Pure: time and randomness come in as arguments. The three restart types, the
// intensity cap and their words are those of OTP's supervisor
//              (lib/stdlib/src/supervisor.erl); the delay is exponential back-off with full jitter,
//              so that plugins that fail together do not return together.
// Threads      Values without a lock; the supervisor actor owns one RestartBudget per plugin.
// Invariants   1. At most max_restarts restarts lie within any stretch of window; the end after
// that is a quarantine.
//              2. backoff_min <= delay <= min(backoff_max, backoff_min * 2^n), n counting
//              consecutive restarts from 1.
//              3. A life longer than window ends the streak: the next delay is drawn from the
//              smallest range again.
#pragma once

#include "daemon/config/config.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <string_view>

namespace smarmd {

using SteadyTime = std::chrono::steady_clock::time_point;
using Milliseconds = std::chrono::milliseconds;

// How the root actor ended. stopped: it ended because the daemon asked it to.
enum class EndKind : std::uint8_t { exit, panic, killed, stopped };

std::string_view to_string(EndKind kind);

struct RestartRules {
  RestartType type = RestartType::permanent;
  unsigned max_restarts = 5;
  Milliseconds window{60'000};
  Milliseconds backoff_min{100};
  Milliseconds backoff_max{30'000};
};
RestartRules rules_of(const PluginPolicy& policy);

// permanent restarts always, transient when the plugin failed, temporary never; what was asked to
// stop stays down.
constexpr bool wants_restart(RestartType type, EndKind kind) {
  if (kind == EndKind::stopped || type == RestartType::temporary) return false;
  return type == RestartType::permanent || kind != EndKind::exit;
}

enum class Verdict : std::uint8_t { restart, stay_down, quarantine };

struct Decision {
  Verdict verdict = Verdict::stay_down;
  Milliseconds delay{0};     // restart only
  unsigned in_window = 0;    // restarts within the window, this one included
  unsigned consecutive = 0;  // restarts since the last long life, this one included
};

// What one plugin has used of its restarts.
class RestartBudget {
 public:
  // Decides about an end at `now` of a life that began at `born`. `unit` is a random number in [0,
  // 1).
  Decision on_end(const RestartRules& rules, EndKind kind, SteadyTime born, SteadyTime now,
                  double unit);
  // A clean slate: revived by hand, or a new image.
  void reset();
  unsigned in_window() const { return static_cast<unsigned>(restarts_.size()); }

 private:
  std::deque<SteadyTime> restarts_;  // within the window, oldest first
  unsigned consecutive_ = 0;
};

// The delay before the consecutive-th restart (1 is the first), drawn by unit in [0, 1).
Milliseconds backoff_delay(const RestartRules& rules, unsigned consecutive, double unit);

}  // namespace smarmd
