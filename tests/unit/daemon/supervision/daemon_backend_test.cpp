#include "daemon/supervision/daemon_backend.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace smarmd;

TEST_CASE("metrics page: refused files are counted and never double a plugin's samples") {
  DaemonSnapshot daemon;
  PluginSnapshot steady;
  steady.name = "steady";
  steady.state = "running";
  steady.actors = 3;
  steady.preempted_alloc = 4;
  steady.preempted_async = 5;
  steady.blocked = 8;
  steady.blocking_jobs_running = 9;
  steady.blocking_jobs_queued = 10;
  steady.blocking_jobs_total = 11;
  daemon.blocking.threads = 12;
  daemon.blocking.threads_limit = 13;
  steady.mailbox_depth_max = 6;
  steady.mailbox_refused = 7;
  PluginSnapshot file;
  file.name = "steady";  // the stem of a file that was refused as a duplicate
  file.state = "refused";
  file.only_file = true;
  daemon.plugins = {steady, file, file};
  const std::string page = metrics_page(daemon);
  const std::string sample = "smarm_actors{plugin=\"steady\"} ";
  const auto at = page.find(sample);
  REQUIRE(at != page.npos);
  CHECK(page.substr(at + sample.size(), 2) == "3\n");
  CHECK(page.find(sample, at + 1) == page.npos);
  for (const char* line :
       {"smarm_refused_files 2\n",
        "smarm_preemptions_total{plugin=\"steady\",kind=\"allocator\"} 4\n",
        "smarm_preemptions_total{plugin=\"steady\",kind=\"signal\"} 5\n",
        "smarm_blocked_total{plugin=\"steady\"} 8\n", "smarm_blocking_threads 12\n",
        "smarm_blocking_threads_limit 13\n", "smarm_blocking_jobs_running{plugin=\"steady\"} 9\n",
        "smarm_blocking_jobs_queued{plugin=\"steady\"} 10\n",
        "smarm_blocking_jobs_total{plugin=\"steady\"} 11\n",
        "smarm_mailbox_depth_max{plugin=\"steady\"} 6\n",
        "smarm_mailbox_refused_total{plugin=\"steady\"} 7\n"}) {
    CAPTURE(std::string(line));
    CHECK(page.find(line) != page.npos);
  }
}
