#include "daemon/supervision/restart_policy.hpp"

#include <doctest/doctest.h>

#include <array>
#include <vector>

using namespace smarmd;
using namespace std::chrono_literals;

namespace {

constexpr std::array kTypes = {RestartType::permanent, RestartType::transient,
                               RestartType::temporary};
constexpr std::array kEnds = {EndKind::exit, EndKind::panic, EndKind::killed, EndKind::stopped};
const SteadyTime kStart{1h};

RestartRules rules(RestartType type = RestartType::permanent, unsigned max = 5) {
  return {.type = type,
          .max_restarts = max,
          .window = 60s,
          .backoff_min = 100ms,
          .backoff_max = 30'000ms};
}

}  // namespace

TEST_CASE("each restart type answers each kind of end as OTP does") {
  // Rows: permanent, transient, temporary. Columns: exit, panic, killed, stopped.
  constexpr bool expected[3][4] = {
      {true, true, true, false}, {false, true, true, false}, {false, false, false, false}};
  for (std::size_t t = 0; t < kTypes.size(); ++t) {
    for (std::size_t e = 0; e < kEnds.size(); ++e) {
      CAPTURE(name_of(kTypes[t]));
      CAPTURE(to_string(kEnds[e]));
      CHECK(wants_restart(kTypes[t], kEnds[e]) == expected[t][e]);
      RestartBudget budget;
      const Decision d = budget.on_end(rules(kTypes[t]), kEnds[e], kStart, kStart + 1s, 0.5);
      CHECK(d.verdict == (expected[t][e] ? Verdict::restart : Verdict::stay_down));
      CHECK(budget.in_window() == (expected[t][e] ? 1u : 0u));
    }
  }
}

TEST_CASE("the end after max_restarts restarts within the window is a quarantine") {
  for (unsigned max : {0u, 1u, 3u, 5u}) {
    RestartBudget budget;
    SteadyTime now = kStart;
    for (unsigned i = 0; i < max; ++i, now += 1s) {
      const Decision d =
          budget.on_end(rules(RestartType::permanent, max), EndKind::panic, now, now, 0.0);
      CHECK(d.verdict == Verdict::restart);
      CHECK(d.in_window == i + 1);
      CHECK(d.consecutive == i + 1);
    }
    CHECK(
        budget.on_end(rules(RestartType::permanent, max), EndKind::panic, now, now, 0.0).verdict ==
        Verdict::quarantine);
  }
}

TEST_CASE("the window slides: a restart leaves it exactly when it is window old") {
  RestartBudget budget;
  const RestartRules two = rules(RestartType::permanent, 2);
  CHECK(budget.on_end(two, EndKind::panic, kStart, kStart, 0).verdict == Verdict::restart);
  CHECK(budget.on_end(two, EndKind::panic, kStart, kStart + 30s, 0).verdict == Verdict::restart);
  RestartBudget early = budget;
  CHECK(early.on_end(two, EndKind::panic, kStart, kStart + 59'999ms, 0).verdict ==
        Verdict::quarantine);
  CHECK(budget.on_end(two, EndKind::panic, kStart, kStart + 60s, 0).verdict == Verdict::restart);
  CHECK(budget.in_window() == 2);
  CHECK(budget.on_end(two, EndKind::panic, kStart, kStart + 61s, 0).verdict == Verdict::quarantine);
}

TEST_CASE("a crash that is rarer than the window never quarantines") {
  RestartBudget budget;
  SteadyTime born = kStart;
  for (int i = 0; i < 1000; ++i) {
    const SteadyTime end = born + 61s;
    const Decision d =
        budget.on_end(rules(RestartType::permanent, 1), EndKind::panic, born, end, 0.999);
    REQUIRE(d.verdict == Verdict::restart);
    CHECK(d.consecutive == 1);
    born = end + d.delay;
  }
}

TEST_CASE("the back-off range doubles from the minimum to the maximum and the draw covers it") {
  const RestartRules r = rules();
  const std::vector<Milliseconds> tops = {200ms,  400ms,    800ms,    1600ms,   3200ms,
                                          6400ms, 12'800ms, 25'600ms, 30'000ms, 30'000ms};
  for (unsigned n = 1; n <= tops.size(); ++n) {
    CHECK(backoff_delay(r, n, 0.0) == 100ms);
    CHECK(backoff_delay(r, n, 1.0) == tops[n - 1]);
    CHECK(backoff_delay(r, n, 0.5) == 100ms + (tops[n - 1] - 100ms) / 2);
  }
  CHECK(backoff_delay(r, 4'000'000'000u, 1.0) == 30'000ms);
}

TEST_CASE("back-off at the edges: zero, equal ends, an odd maximum") {
  RestartRules r = rules();
  r.backoff_min = r.backoff_max = 0ms;
  CHECK(backoff_delay(r, 7, 0.9) == 0ms);
  r.backoff_max = 500ms;
  CHECK(backoff_delay(r, 7, 1.0) == 0ms);
  r.backoff_min = 500ms;
  CHECK(backoff_delay(r, 1, 0.3) == 500ms);
  r.backoff_min = 300ms;
  CHECK(backoff_delay(r, 1, 1.0) == 500ms);
}

TEST_CASE("a life longer than the window ends the streak") {
  RestartBudget budget;
  const RestartRules r = rules(RestartType::permanent, 100);
  SteadyTime now = kStart;
  for (int i = 0; i < 4; ++i, now += 1s) (void)budget.on_end(r, EndKind::panic, now, now, 1.0);
  CHECK(budget.on_end(r, EndKind::panic, now, now + 60s, 1.0).consecutive ==
        5);  // exactly the window: not longer
  now += 60s;
  const Decision d = budget.on_end(r, EndKind::panic, now, now + 60'001ms, 1.0);
  CHECK(d.consecutive == 1);
  CHECK(d.delay == 200ms);
}

TEST_CASE("reset gives the whole budget back") {
  RestartBudget budget;
  const RestartRules one = rules(RestartType::permanent, 1);
  CHECK(budget.on_end(one, EndKind::panic, kStart, kStart, 0).verdict == Verdict::restart);
  CHECK(budget.on_end(one, EndKind::panic, kStart, kStart, 0).verdict == Verdict::quarantine);
  budget.reset();
  CHECK(budget.in_window() == 0);
  const Decision d = budget.on_end(one, EndKind::panic, kStart, kStart, 0);
  CHECK(d.verdict == Verdict::restart);
  CHECK(d.consecutive == 1);
}

TEST_CASE("the rules are the policy's numbers in their units") {
  PluginPolicy policy;
  policy.restart = RestartType::transient;
  policy.max_restarts = 7;
  policy.window_s = 9;
  policy.backoff = {.min_ms = 11, .max_ms = 13};
  const RestartRules r = rules_of(policy);
  CHECK(r.type == RestartType::transient);
  CHECK(r.max_restarts == 7);
  CHECK(r.window == 9s);
  CHECK(r.backoff_min == 11ms);
  CHECK(r.backoff_max == 13ms);
}
