// Plugins that come, fail, are replaced and go while the daemon runs.
#include "tests/integration/daemon_process.hpp"

#include <algorithm>
#include <fstream>

using namespace integration;

namespace {

void give_policy(DaemonProcess& d, const std::string& plugin, unsigned max_restarts) {
  d.config["plugins"]["overrides"][plugin] = {
      {"max_restarts", max_restarts}, {"window_s", 60}, {"backoff_ms", {20, 200}}};
}

}  // namespace

TEST_SUITE("supervision") {
  TEST_CASE("a file that is dropped in while the daemon runs starts") {
    DaemonProcess d;
    d.start_ready();
    const auto before = std::chrono::steady_clock::now();
    d.install("steady");
    d.wait_log("plugin.started", {{"plugin", "steady"}});
    const auto took = std::chrono::steady_clock::now() - before;
    MESSAGE("started after " << std::chrono::duration_cast<milliseconds>(took).count() << " ms");
    CHECK(took < 10s);                         // a second on a machine that has nothing else to do
    d.wait_plugin_state("steady", "running");  // shown at the end of the step that logs
    CHECK(d.stop() == 0);
  }

  TEST_CASE(
      "a panicking plugin is restarted max_restarts times, then quarantined; every step is a "
      "record; its neighbour never stops") {
    DaemonProcess d;
    give_policy(d, "panics_after", 3);
    d.config["plugins"]["overrides"]["panics_after"]["config"] = {{"after_ms", 20}};
    d.install("steady");
    d.start_ready();
    const std::string neighbour = d.plugin("steady").at("pid");
    d.install("panics_after");
    const Match mine = {{"plugin", "panics_after"}};
    d.wait_log("plugin.quarantined", mine);

    const std::vector<Json> panics = d.logged("plugin.panicked", mine);
    const std::vector<Json> restarts = d.logged("plugin.restarted", mine);
    REQUIRE(panics.size() == 4);
    REQUIRE(restarts.size() == 3);
    std::string pid = d.logged("plugin.started", mine).at(0).at("actor");
    for (std::size_t i = 0; i < 3; ++i) {
      CAPTURE(i);
      const std::string reason = "panic after 20 ms (std::runtime_error)";
      CHECK(panics[i].at("actor") == pid);
      CHECK(panics[i].at("reason") == reason);
      CHECK(panics[i].at("type") == "std::runtime_error");
      const std::string backtrace = panics[i].at("backtrace");
      CHECK_MESSAGE(backtrace.starts_with("#0 (anonymous namespace)::run"), backtrace);
      CHECK_MESSAGE(backtrace.find("/fixtures/panics_after.cpp:20 (panics_after.g1.so+0x") !=
                        std::string::npos,
                    backtrace);
      CHECK(restarts[i].at("backtrace") == backtrace);
      CHECK(panics[i].at("restarts") == i + 1);
      CHECK(panics[i].at("delay_ms") >= 20);
      CHECK(panics[i].at("delay_ms") <= 200);
      CHECK(restarts[i].at("pid_old") == pid);
      CHECK(restarts[i].at("reason") == reason);
      CHECK(restarts[i].at("restarts") == i + 1);
      CHECK(restarts[i].at("delay_ms") == panics[i].at("delay_ms"));
      const std::string next = restarts[i].at("pid_new");
      CHECK(next != pid);
      pid = next;
    }
    CHECK(panics[3].at("actor") == pid);
    const Json shown = d.plugin("panics_after");
    CHECK(shown.at("state") == "quarantined");
    CHECK(shown.at("last_reason") == "panic after 20 ms");
    CHECK(shown.at("restarts") == 3);
    CHECK(d.plugin("steady").at("pid") == neighbour);
    CHECK(d.logged("plugin.log", {{"message", "steady stops"}}).empty());
    CHECK(d.stop() == 0);
  }

  TEST_CASE(
      "an entry that throws at once is quarantined and holds neither READY nor the others up") {
    DaemonProcess d;
    give_policy(d, "throws_at_once", 2);
    d.install("throws_at_once");
    d.install("steady");
    d.start_ready();
    d.wait_log("plugin.quarantined", {{"plugin", "throws_at_once"}});
    CHECK(d.logged("plugin.restarted", {{"plugin", "throws_at_once"}}).size() == 2);
    CHECK(d.plugin("steady").at("state") == "running");
    CHECK(d.stop() == 0);
  }

  TEST_CASE(
      "revive gives a quarantined plugin a new budget; so does a new file, but not the same "
      "bytes") {
    DaemonProcess d;
    give_policy(d, "versioned", 1);
    d.install("versioned_bad", "v.so");
    d.start_ready();
    const Match mine = {{"plugin", "versioned"}};
    d.wait_log("plugin.quarantined", mine);
    CHECK(d.ctl({"restart", "versioned"}).exit == 2);
    CHECK(d.ctl({"revive", "versioned"}).exit == 0);
    d.wait_log("plugin.quarantined", mine, 2);
    CHECK(d.logged("plugin.revived", mine).size() == 1);
    d.install("versioned_bad", "v.so");
    // A reload looks at every file, and is answered when all of them are dealt with.
    CHECK(d.ctl({"reload"}).exit == 0);
    CHECK(d.plugin("versioned").at("state") == "quarantined");
    d.install("versioned_1", "v.so");
    d.wait_log("plugin.replaced", mine);
    CHECK(d.wait_plugin_state("versioned", "running").at("version") == "1.0.0");
    CHECK(d.stop() == 0);
  }

  TEST_CASE(
      "a replaced file: the old image drains, the next one starts with another pid and "
      "generation") {
    DaemonProcess d;
    d.install("versioned_1", "v.so");
    d.install("steady");
    d.start_ready();
    const std::string neighbour = d.plugin("steady").at("pid");
    const std::string old = d.plugin("versioned").at("pid");
    d.install("versioned_2", "v.so");
    const Json replaced = d.wait_log("plugin.replaced", {{"plugin", "versioned"}});
    CHECK(replaced.at("pid_old") == old);
    CHECK(replaced.at("generation") == 2);
    d.wait_log("plugin.log", {{"message", "versioned runs, variant 2"}});
    d.until([&] { return d.plugin("versioned").at("version") == "2.0.0"; }, "version 2.0.0");
    CHECK(d.plugin("steady").at("pid") == neighbour);
    // Identical bytes are not loaded again.
    d.install("versioned_2", "v.so");
    CHECK(d.ctl({"reload"}).exit == 0);
    CHECK(d.logged("plugin.replaced").size() == 1);
    CHECK(d.stop() == 0);
  }

  TEST_CASE("a new image that fails early is rolled back to the one before") {
    DaemonProcess d;
    d.install("versioned_1", "v.so");
    d.start_ready();
    d.install("versioned_bad", "v.so");
    const Json back = d.wait_log("plugin.rolled_back", {{"plugin", "versioned"}});
    CHECK(back.at("reason") == "a bad build (std::runtime_error)");
    CHECK(back.at("generation") == 1);
    d.wait_log("plugin.log", {{"message", "versioned runs, variant 1"}}, 2);
    CHECK(d.plugin("versioned").at("version") == "1.0.0");
    CHECK(d.stop() == 0);
  }

  TEST_CASE("writing over the file of a running plugin does not harm it") {
    DaemonProcess d;
    d.install("versioned_1", "v.so");
    d.start_ready();
    const std::string pid = d.plugin("versioned").at("pid");
    {
      std::ofstream out(d.plugins() / "v.so", std::ios::binary | std::ios::trunc);
      out << read_file(own_plugin_file("versioned_2")).substr(0, 5000);
    }
    d.wait_log("plugin.refused", {{"plugin", "versioned"}});
    CHECK(d.plugin("versioned").at("state") == "running");
    CHECK(d.plugin("versioned").at("pid") == pid);
    CHECK(d.stop() == 0);
  }

  TEST_CASE("a removed file stops its plugin, and the plugin is forgotten") {
    DaemonProcess d;
    d.install("steady");
    d.install("versioned_1", "v.so");
    d.start_ready();
    d.remove("steady.so");
    d.wait_log("plugin.removed", {{"plugin", "steady"}});
    CHECK(d.logged("plugin.log", {{"message", "steady stops"}}).size() == 1);
    d.until([&] { return d.plugin("steady") == nullptr; }, "an end of steady in the list");
    CHECK(d.plugin("versioned").at("state") == "running");
    d.install("steady");
    d.wait_log("plugin.log", {{"message", "steady runs"}}, 2);
    CHECK(d.stop() == 0);
  }

  TEST_CASE("the actors that a failed plugin left are stopped before it starts again") {
    DaemonProcess d;
    give_policy(d, "family", 2);
    d.config["plugins"]["overrides"]["family"]["config"] = {{"children", "leave"}};
    d.install("family");
    d.start_ready();
    d.wait_log("plugin.quarantined", {{"plugin", "family"}});
    CHECK(d.logged("plugin.restarted", {{"plugin", "family"}}).size() == 2);
    CHECK(d.logged("daemon.stuck").empty());
    // Only the daemon's own actors are left.
    const Json status = d.ctl({"--json", "status"}).json().at("result");
    CHECK(status.at("actors") <= 2);
    CHECK(d.stop() == 0);
  }

  TEST_CASE("needs: missing ones refuse with a clear line until they appear") {
    DaemonProcess d;
    d.install("needs_steady");
    d.start_ready();
    const Json refused = d.wait_log("plugin.refused", {{"plugin", "needs_steady"}});
    CHECK(refused.at("message").get<std::string>().find("\"steady\"") != std::string::npos);
    d.install("steady");
    d.wait_log("plugin.log",
               {{"plugin", "needs_steady"}, {"message", "needs_steady found steady"}});
    CHECK(d.wait_plugin_state("needs_steady", "running").at("state") == "running");
    CHECK(d.stop() == 0);
  }

  TEST_CASE("a plugin that allocates without end does not keep the others from running") {
    DaemonProcess d;
    d.config["runtime"]["threads"] = 1;
    d.install("hog");
    d.start_ready();
    d.install("steady");
    d.wait_log("plugin.log", {{"message", "steady runs"}});
    CHECK(d.ctl({"restart", "steady"}).exit == 0);
    CHECK(d.stop() == 0);
  }

  SIGNAL_CASE("a plugin that loops for ever keeps nobody from running, and can be stopped") {
    DaemonProcess d;
    d.config["runtime"]["threads"] = 1;
    d.config["runtime"]["async_preempt_ms"] = 2;
    d.config["runtime"]["shutdown_ms"] = 300;
    d.install("spin");
    // AddressSanitizer takes what an abandoned actor had for leaked.
    d.start_ready({}, {{"ASAN_OPTIONS", "detect_leaks=0"}});
    d.wait_log("plugin.log", {{"message", "spin starts"}});
    d.install("steady");
    d.wait_log("plugin.log", {{"message", "steady runs"}});
    CHECK(d.ctl({"restart", "steady"}).exit == 0);
    const Json status = d.ctl({"--json", "status"}).json().at("result");
    std::uint64_t preempted = 0;
    for (const Json& worker : status.at("workers"))
      preempted += worker.at("preempted_async").get<std::uint64_t>();
    CHECK(preempted > 0);
    d.remove("spin.so");
    const Json end = d.wait_log("plugin.panicked", {{"plugin", "spin"}});
    CHECK(end.at("message").get<std::string>().find("without reaching a safe-point") !=
          std::string::npos);
    d.wait_log("plugin.removed", {{"plugin", "spin"}});
    CHECK(d.plugin("spin") == nullptr);
    CHECK(d.stop() == 0);
  }

  TEST_CASE("with watch off, files are found by a reload") {
    DaemonProcess d;
    d.config["plugins"]["watch"] = false;
    d.start_ready();
    d.install("steady");
    CHECK(d.ctl({"reload"}).exit == 0);
    CHECK(d.plugin("steady").at("state") == "running");
    d.remove("steady.so");
    CHECK(d.ctl({"reload"}).exit == 0);
    CHECK(d.plugin("steady") == nullptr);
    CHECK(d.stop() == 0);
  }
}
