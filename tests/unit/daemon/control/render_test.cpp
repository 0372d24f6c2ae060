#include "daemon/ctl/render.hpp"

#include <doctest/doctest.h>

using namespace smarmd;
using nlohmann::json;

TEST_CASE("smarmctl output: durations in the units people read") {
  CHECK(render_duration(950) == "950 ms");
  CHECK(render_duration(12'000) == "12s");
  CHECK(render_duration(185'000) == "3m 5s");
  CHECK(render_duration(7'380'000) == "2h 3m");
  CHECK(render_duration(349'200'000) == "4d 1h");
}

TEST_CASE("smarmctl output: a table's columns fit, counted in characters") {
  CHECK(
      render_table({{"NAME", "X"}, {"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa9", "1"}, {"b", ""}}) ==
      "NAME   X\n\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa9  1\nb\n");
  CHECK(render_table({}) == "");
}

TEST_CASE(
    "smarmctl output: a plugin's words cannot drive the terminal, and are cut between characters") {
  CHECK(render_words("a\nb\x1b[31mc\x7f\xc2\x9b") == "a b?[31mc??");
  CHECK(render_words("\xc3\xa4\xc3\xb6\xc3\xbc", 2) == "\xc3\xa4\xc3\xb6...");
  CHECK(render_words("fits", 4) == "fits");
}

TEST_CASE("smarmctl output: plugins as a table") {
  const json result = {{"plugins",
                        {{{"name", "echo"},
                          {"version", "1.0.0"},
                          {"state", "running"},
                          {"since_ms", 1'000'000},
                          {"pid", "3.1"},
                          {"actors", 12},
                          {"restarts", 0},
                          {"last_reason", ""}},
                         {{"name", "crashy"},
                          {"version", "1.0.0"},
                          {"state", "quarantined"},
                          {"since_ms", 1'055'000},
                          {"pid", ""},
                          {"actors", 0},
                          {"restarts", 5},
                          {"last_reason", "std::runtime_error:\nboom"}}}}};
  CHECK(render_result("plugins", result, 1'060'000) ==
        "NAME    VERSION  STATE        SINCE  PID  ACTORS  RESTARTS  LAST REASON\n"
        "echo    1.0.0    running      1m 0s  3.1  12      0\n"
        "crashy  1.0.0    quarantined  5s          0       5         std::runtime_error: boom\n");
  CHECK(render_result("plugins", {{"plugins", json::array()}}, 0).find("no plugins") == 0);
}

TEST_CASE("smarmctl output: a plugin's preemptions, blocking jobs and mailboxes") {
  json plugin = {{"name", "p"},
                 {"preempted_alloc", 4},
                 {"preempted_async", 5},
                 {"mailbox_depth_max", 6},
                 {"mailbox_refused", 0},
                 {"policy", {{"mailbox_limit", 0}}},
                 {"blocked", 3},
                 {"blocking_jobs_running", 2},
                 {"blocking_jobs_queued", 10},
                 {"blocking_jobs_total", 70}};
  const std::string text = render_result("plugin", plugin, 0);
  CHECK(text.find("preempted  4 times at allocations, 5 by signal\n") != text.npos);
  CHECK(text.find("blocked    3 times a thread, in a system call\n") != text.npos);
  CHECK(text.find("blocking   2 jobs run, 10 queued, 70 done\n") != text.npos);
  CHECK(text.find("mailboxes  the fullest has 6 messages, no limit\n") != text.npos);
  plugin["policy"]["mailbox_limit"] = 9;
  plugin["mailbox_refused"] = 7;
  CHECK(render_result("plugin", plugin, 0)
            .find("mailboxes  the fullest has 6 messages, limit 9, 7 refused\n") != text.npos);
}

TEST_CASE("smarmctl output: status says how it is in its first line") {
  const json result = {
      {"version", "0.1.0"},
      {"state", "running"},
      {"pid", 42},
      {"started_ms", 1'000'000},
      {"config_file", "/etc/smarmd/smarmd.json"},
      {"plugins", {{"total", 3}, {"by_state", {{"running", 2}, {"quarantined", 1}}}}},
      {"actors", 7},
      {"io_backend", "epoll"},
      {"workers",
       {{{"resumes", 5},
         {"preempted_alloc", 1},
         {"preempted_async", 2},
         {"hibernated", 9},
         {"thawed", 5},
         {"idle_ns", 2'000'000'000}}}},
      {"blocking_threads", 3},
      {"blocking_threads_limit", 64},
      {"blocking_threads_idle", 1},
      {"blocking_jobs_running", 2},
      {"blocking_jobs_queued", 5},
      {"metrics_listen", "127.0.0.1:9464"},
      {"log_level", "info"},
      {"log_format", "text"},
      {"log_lost", 3},
      {"restarts", 9},
      {"last_reload_error", "bad"}};
  const std::string text = render_result("status", result, 1'060'000);
  CHECK(text.starts_with("smarmd 0.1.0 is running, pid 42, up 1m 0s\n"));
  for (const char* part :
       {"3: 1 quarantined, 2 running\n", "7 on 1 workers (epoll), 4 hibernate",
        "blocking     3 of 64 threads, 1 idle, 5 jobs queued\n", "http://127.0.0.1:9464/metrics",
        "info as text; 3 records lost", "the last reload failed: bad",
        "0       5        0      0       3          0       0      2s\n"}) {
    CAPTURE(part);
    CAPTURE(text);
    CHECK(text.find(part) != std::string::npos);
  }
}

TEST_CASE("smarmctl output: an answer of another version is shown, not choked on") {
  for (const char* command :
       {"status", "plugins", "plugin", "reload", "restart", "revive", "version"}) {
    for (const json& result :
         {json(), json::object(), json::array({1, 2}), json("text"),
          json{{"plugins", {1, "x"}}, {"workers", {1}}, {"message", 3}, {"pid", "x"}}}) {
      CAPTURE(command);
      CHECK_FALSE(render_result(command, result, 0).empty());
    }
  }
}

TEST_CASE("smarmctl output: an error is its message, its details and its hint") {
  CHECK(render_error({{"message", "no"}, {"details", {"one", "two"}}, {"hint", "do this"}}) ==
        "smarmctl: no\n  one\n  two\n  do this\n");
  CHECK(render_error({{"message", "no"}}) == "smarmctl: no\n");
}
