#include "daemon/supervision/reload.hpp"

#include <doctest/doctest.h>

using namespace smarmd;

TEST_CASE("a reload takes what can change live, keeps the rest as it runs, and names both") {
  Config running;
  Config next = running;
  next.runtime.threads = 7;
  next.runtime.shutdown_ms = 1;
  next.runtime.alloc_interval = 9;
  next.plugins.directory = {"/elsewhere"};
  next.plugins.defaults.max_restarts = 1;
  next.plugins.overrides["echo"].enabled = false;
  next.log.level = smarm::LogLevel::trace;
  next.control.socket = "/other.sock";
  const ReloadPlan plan = plan_reload(running, next);
  CHECK(plan.effective.runtime.threads == running.runtime.threads);
  CHECK(plan.effective.runtime.shutdown_ms == running.runtime.shutdown_ms);
  CHECK(plan.effective.plugins.directory == running.plugins.directory);
  CHECK(plan.effective.control == running.control);
  CHECK(plan.effective.runtime.alloc_interval == 9);
  CHECK(plan.effective.plugins.defaults.max_restarts == 1);
  CHECK(plan.effective.plugins.overrides == next.plugins.overrides);
  CHECK(plan.effective.log.level == smarm::LogLevel::trace);
  CHECK(plan.applied.size() == 4);
  CHECK(plan.needs_restart.size() == 4);
  // The same again: what was applied is no change any more, what needs a restart still does.
  const ReloadPlan again = plan_reload(plan.effective, next);
  CHECK(again.applied.empty());
  CHECK(again.needs_restart == plan.needs_restart);
}

TEST_CASE("a reload of the same configuration changes nothing") {
  Config c;
  c.plugins.overrides["echo"].config = R"({"a":1})";
  const ReloadPlan plan = plan_reload(c, c);
  CHECK(plan.effective == c);
  CHECK(plan.applied.empty());
  CHECK(plan.needs_restart.empty());
}
