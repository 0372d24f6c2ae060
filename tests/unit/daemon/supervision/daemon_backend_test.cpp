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
  CHECK(page.find("smarm_refused_files 2\n") != page.npos);
}
