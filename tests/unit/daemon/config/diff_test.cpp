#include "tests/unit/daemon/config/config_files.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

using namespace smarmd;
using namespace smarmd::config_test;

TEST_SUITE_BEGIN("config: diff and effective config");

namespace {

using Changes = std::vector<Change>;

// One change of each key, away from the default.
constexpr const char* kAllDifferent = R"({
  "runtime": { "threads": 3, "timeslice_cycles": 4000, "alloc_interval": 5, "stack_kib": 128, "io_backend": "io_uring", "async_preempt_ms": 6,
               "hibernate_after_ms": 7, "mailbox_warn": 20, "blocking_threads": 8, "on_fault": "abort", "shutdown_ms": 9 },
  "plugins": { "directory": ["/a", "/b"], "watch": false, "state_directory": "/state",
               "defaults": { "restart": "temporary", "max_restarts": 10, "window_s": 11, "backoff_ms": [12, 13], "mailbox_limit": 21 },
               "overrides": { "echo": { "enabled": false, "restart": "transient", "max_restarts": 14, "window_s": 15, "backoff_ms": [16, 17], "mailbox_limit": 22,
                                        "config": { "b": 1, "a": "x" } } } },
  "log": { "level": "warn", "format": "journald" }, "control": { "socket": "/run/s" }, "metrics": { "listen": "" } })";

}  // namespace

TEST_CASE("equal configs do not differ") {
  CHECK(diff(Config{}, Config{}).empty());
  CHECK(diff(loaded(kAllDifferent), loaded(kAllDifferent)).empty());
  CHECK(
      diff(
          Config{},
          loaded(
              R"({"runtime": {"threads": 0}, "plugins": {"overrides": {"echo": {"enabled": true, "config": {}}}}})"))
          .empty());
}

TEST_CASE("what can change live is told apart from what needs a restart") {
  const ConfigDiff d = diff(Config{}, loaded(kAllDifferent));
  CHECK(d.live == Changes{{"/runtime/timeslice_cycles", "300000", "4000"},
                          {"/runtime/alloc_interval", "128", "5"},
                          {"/runtime/async_preempt_ms", "10", "6"},
                          {"/runtime/mailbox_warn", "65536", "20"},
                          {"/plugins/defaults/restart", "\"permanent\"", "\"temporary\""},
                          {"/plugins/defaults/max_restarts", "5", "10"},
                          {"/plugins/defaults/window_s", "60", "11"},
                          {"/plugins/defaults/backoff_ms", "[100,30000]", "[12,13]"},
                          {"/plugins/defaults/mailbox_limit", "0", "21"},
                          {"/plugins/overrides/echo/enabled", "true", "false"},
                          {"/plugins/overrides/echo/restart", "", "\"transient\""},
                          {"/plugins/overrides/echo/max_restarts", "", "14"},
                          {"/plugins/overrides/echo/window_s", "", "15"},
                          {"/plugins/overrides/echo/backoff_ms", "", "[16,17]"},
                          {"/plugins/overrides/echo/mailbox_limit", "", "22"},
                          {"/plugins/overrides/echo/config", "{}", R"({"a":"x","b":1})"},
                          {"/log/level", "\"info\"", "\"warn\""}});
  CHECK(d.needs_restart ==
        Changes{{"/runtime/threads", "0", "3"},
                {"/runtime/stack_kib", "64", "128"},
                {"/runtime/io_backend", "\"epoll\"", "\"io_uring\""},
                {"/runtime/hibernate_after_ms", "0", "7"},
                {"/runtime/blocking_threads", "64", "8"},
                {"/runtime/on_fault", "\"panic_safe\"", "\"abort\""},
                {"/runtime/shutdown_ms", "10000", "9"},
                {"/plugins/directory", "\"/usr/lib/smarmd/plugins\"", R"(["/a","/b"])"},
                {"/plugins/watch", "true", "false"},
                {"/plugins/state_directory", "\"/var/lib/smarmd\"", "\"/state\""},
                {"/log/format", "\"auto\"", "\"journald\""},
                {"/control/socket", "\"/run/smarmd/control.sock\"", "\"/run/s\""},
                {"/metrics/listen", "\"127.0.0.1:9464\"", "\"\""}});
}

TEST_CASE("the other direction swaps before and after") {
  const ConfigDiff there = diff(Config{}, loaded(kAllDifferent)),
                   back = diff(loaded(kAllDifferent), Config{});
  const auto swapped = [](Changes changes) {
    for (Change& c : changes) std::swap(c.before, c.after);
    return changes;
  };
  CHECK(back.live == swapped(there.live));
  CHECK(back.needs_restart == swapped(there.needs_restart));
}

TEST_CASE("the other spelling of the timeslice is a live change") {
  const ConfigDiff d = diff(Config{}, loaded(R"({"runtime": {"timeslice_us": 50}})"));
  CHECK(d.live ==
        Changes{{"/runtime/timeslice_cycles", "300000", ""}, {"/runtime/timeslice_us", "", "50"}});
  CHECK(d.needs_restart.empty());
}

TEST_CASE("the order of keys in a plugin's config is no change") {
  const auto with = [](const char* config) {
    return loaded(std::string(R"({"plugins": {"overrides": {"e": {"config": )") + config + "}}}}");
  };
  CHECK(diff(with(R"({"a": 1, "b": 2})"), with(R"({"b":2,"a":1})")).empty());
}

TEST_CASE("the effective config shows every default in the documented order") {
  CHECK(
      to_json(Config{}).dump() ==
      R"({"runtime":{"threads":0,"timeslice_cycles":300000,"alloc_interval":128,"stack_kib":64,"io_backend":"epoll","async_preempt_ms":10,)"
      R"("hibernate_after_ms":0,"mailbox_warn":65536,"blocking_threads":64,"on_fault":"panic_safe","shutdown_ms":10000},)"
      R"("plugins":{"directory":"/usr/lib/smarmd/plugins","watch":true,"state_directory":"/var/lib/smarmd",)"
      R"("defaults":{"restart":"permanent","max_restarts":5,"window_s":60,"backoff_ms":[100,30000],"mailbox_limit":0}},)"
      R"("log":{"level":"info","format":"auto"},"control":{"socket":"/run/smarmd/control.sock"},"metrics":{"listen":"127.0.0.1:9464"}})");
}

TEST_CASE("the effective config is a config that means the same") {
  for (
      const char* text :
      {"{}", kAllDifferent,
       R"({"runtime": {"timeslice_us": 50}, "plugins": {"directory": ["/x", "/y"]}, "metrics": {"listen": null}})"}) {
    const Config c = loaded(text);
    CHECK(loaded(to_json(c).dump()) == c);
  }
}

TEST_CASE("the effective config shows one spelling of the timeslice") {
  const auto j = to_json(loaded(R"({"runtime": {"timeslice_us": 50}})"));
  CHECK(j["runtime"]["timeslice_us"] == 50);
  CHECK_FALSE(j["runtime"].contains("timeslice_cycles"));
}

TEST_SUITE_END();
