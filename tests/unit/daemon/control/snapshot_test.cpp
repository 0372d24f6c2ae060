#include "daemon/control/snapshot.hpp"

#include <doctest/doctest.h>

using namespace smarmd;

TEST_CASE("control snapshot: a plugin's document has every key, with plain types") {
  PluginSnapshot plugin;
  plugin.name = "echo";
  plugin.state = "running";
  plugin.pid = "3.1";
  plugin.restarts = 2;
  plugin.policy = {"permanent", 5, 60, 100, 30'000, 9};
  plugin.blocking_jobs_running = 3;
  plugin.blocking_jobs_queued = 4;
  plugin.blocking_jobs_total = 5;
  const nlohmann::json j = plugin;
  for (const char* key : {"name",
                          "version",
                          "description",
                          "file",
                          "state",
                          "pid",
                          "restarts",
                          "restarts_in_window",
                          "since_ms",
                          "last_reason",
                          "last_backtrace",
                          "next_start_ms",
                          "generation",
                          "resident_images",
                          "actors",
                          "preempted_alloc",
                          "preempted_async",
                          "blocked",
                          "blocking_jobs_running",
                          "blocking_jobs_queued",
                          "blocking_jobs_total",
                          "mailbox_depth_max",
                          "mailbox_refused",
                          "policy"}) {
    CAPTURE(key);
    CHECK(j.contains(key));
  }
  CHECK(j["pid"] == "3.1");
  CHECK(j["blocking_jobs_running"] == 3);
  CHECK(j["blocking_jobs_queued"] == 4);
  CHECK(j["blocking_jobs_total"] == 5);
  CHECK(j["policy"]["mailbox_limit"] == 9);
  CHECK(j["policy"]["backoff_ms"] == nlohmann::json::parse("[100,30000]"));
}

TEST_CASE(
    "control snapshot: status counts plugins by state, and leaves their details to `plugins`") {
  DaemonSnapshot daemon;
  daemon.version = "0.1.0";
  daemon.workers.resize(2);
  daemon.plugins.resize(3);
  daemon.plugins[0].state = daemon.plugins[1].state = "running";
  daemon.plugins[2].state = "quarantined";
  daemon.plugins[0].restarts = 4;
  daemon.plugins[2].restarts = 5;
  daemon.blocking = {.threads = 6,
                     .threads_limit = 7,
                     .threads_idle = 1,
                     .jobs_running = 5,
                     .jobs_queued = 8,
                     .jobs_total = 9};
  const auto status = status_document(daemon);
  CHECK(status["plugins"] ==
        nlohmann::json::parse(R"({"total":3,"by_state":{"running":2,"quarantined":1}})"));
  CHECK(status["restarts"] == 9);
  CHECK(status["workers"].size() == 2);
  CHECK(status["workers"][0]["idle_ns"] == 0);
  CHECK(status["blocking_threads"] == 6);
  CHECK(status["blocking_threads_limit"] == 7);
  CHECK(status["blocking_threads_idle"] == 1);
  CHECK(status["blocking_jobs_running"] == 5);
  CHECK(status["blocking_jobs_queued"] == 8);
  CHECK(status["blocking_jobs_total"] == 9);
  const nlohmann::json all = daemon;
  CHECK(all["plugins"].size() == 3);
  CHECK(status_document(DaemonSnapshot{})["plugins"]["by_state"] == nlohmann::json::object());
}
