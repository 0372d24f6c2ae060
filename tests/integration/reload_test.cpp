// SIGHUP and smarmctl reload: all of a configuration is applied, or nothing.
#include "tests/integration/daemon_process.hpp"

#include <algorithm>
#include <csignal>
#include <future>
#include <vector>

using namespace integration;

TEST_SUITE("reload") {
  TEST_CASE(
      "SIGHUP applies what can change live: policies, log level, enabled, a plugin's own "
      "configuration") {
    DaemonProcess d;
    d.install("steady");
    d.install("versioned_1", "v.so");
    d.install("duplicate_a");
    d.start_ready();
    const std::string steady = d.plugin("steady").at("pid");
    const std::string versioned = d.plugin("versioned").at("pid");
    d.config["plugins"]["defaults"]["max_restarts"] = 9;
    d.config["plugins"]["overrides"] = {{"versioned", {{"config", {{"x", 1}}}}},
                                        {"duplicate", {{"enabled", false}}}};
    d.config["log"]["level"] = "trace";
    d.config["runtime"]["alloc_interval"] = 64;
    d.write_config();
    d.signal(SIGHUP);
    const Json reloaded = d.wait_log("config.reloaded");
    CHECK(reloaded.at("applied").get<std::string>().find("/plugins/defaults/max_restarts") !=
          std::string::npos);
    d.wait_notification("RELOADING=1");
    CHECK(d.wait_log("plugin.restarted", {{"plugin", "versioned"}}).at("pid_old") == versioned);
    d.wait_log("plugin.disabled", {{"plugin", "duplicate"}});
    CHECK(d.plugin("steady").at("pid") == steady);
    CHECK(d.plugin("steady").at("policy").at("max_restarts") == 9);
    CHECK(d.ctl({"--json", "status"}).json().at("result").at("log_level") == "trace");
    d.config["plugins"]["overrides"] = Json::object();
    d.write_config();
    CHECK(d.ctl({"reload"}).exit == 0);
    CHECK(d.plugin("duplicate").at("state") == "running");
    CHECK(d.stop() == 0);
  }

  TEST_CASE("an invalid configuration changes nothing, names every error, and the daemon goes on") {
    DaemonProcess d;
    d.install("steady");
    d.start_ready();
    const std::string pid = d.plugin("steady").at("pid");
    d.config["plugins"]["overrides"] = {{"steady", {{"enabled", false}}}};
    d.config["log"]["levl"] = "trace";
    d.write_config();
    d.signal(SIGHUP);
    CHECK(d.wait_log("config.refused").at("message").get<std::string>().find("/log/levl") !=
          std::string::npos);
    const Output ctl = d.ctl({"--json", "reload"});
    CHECK(ctl.exit == 4);
    CHECK(ctl.json().at("error").at("details").at(0).get<std::string>().find("/log/levl") !=
          std::string::npos);
    CHECK(d.plugin("steady").at("pid") == pid);
    CHECK(d.logged("config.reloaded").empty());
    d.config["log"].erase("levl");
    d.config.erase("metrics");
    d.config["plugins"].erase("overrides");
    d.config["metrics"]["listen"] = "127.0.0.1:0";
    d.write_config();
    CHECK(d.ctl({"reload"}).exit == 0);
    CHECK(d.stop() == 0);
  }

  TEST_CASE("what needs a restart of the daemon is said, with exit 5, and the rest is applied") {
    DaemonProcess d;
    d.start_ready();
    d.config["runtime"]["threads"] = 3;
    d.config["plugins"]["defaults"]["max_restarts"] = 8;
    d.write_config();
    const Output ctl = d.ctl({"--json", "reload"});
    CHECK(ctl.exit == 5);
    CHECK(ctl.json().at("result").at("needs_restart") == Json::array({"/runtime/threads"}));
    CHECK(ctl.json().at("result").at("applied") == Json::array({"/plugins/defaults/max_restarts"}));
    CHECK(d.logged("config.needs_restart").size() == 1);
    // It stays so until the daemon is restarted.
    CHECK(d.ctl({"reload"}).exit == 5);
    CHECK(d.stop() == 0);
  }

  TEST_CASE("a reload changes how long actors run and how often they look at the clock") {
    DaemonProcess d;
    d.config["runtime"]["threads"] = 2;  // one is the hog's alone
    d.config["runtime"]["async_preempt_ms"] = 0;
    d.config["runtime"]["timeslice_us"] = 100'000'000;  // for ever: only the reload ends a turn
    d.install("hog");
    d.start_ready();
    d.wait_log("plugin.log", {{"message", "hog starts"}});
    const auto preempted = [&] { return d.plugin("hog").at("preempted_alloc").get<long>(); };
    const auto reload = [&](const char* key, long value) {
      d.config["runtime"][key] = value;
      d.write_config();
      const Output out = d.ctl({"--json", "reload"});
      CHECK(out.exit == 0);
      CHECK(out.json().at("result").at("applied") == Json::array({std::string("/runtime/") + key}));
    };
    reload("alloc_interval", 1'000'000);
    reload("timeslice_us", 1);
    const long rare = preempted();  // a look takes milliseconds of allocations
    d.until([&] { return preempted() > rare; }, "a preemption under the new timeslice");
    reload("alloc_interval", 1);
    const long often = preempted();
    d.until([&] { return preempted() > often + 10'000; }, "10,000 preemptions");
    CHECK(d.stop() == 0);
  }

  TEST_CASE("many reloads at once are all answered") {
    DaemonProcess d;
    d.install("steady");
    d.start_ready();
    std::vector<std::future<Output>> asked;
    for (int i = 0; i < 10; ++i)
      asked.push_back(std::async(std::launch::async, [&d] { return d.ctl({"reload"}); }));
    for (int i = 0; i < 20; ++i) d.signal(SIGHUP);
    for (auto& answer : asked) CHECK(answer.get().exit == 0);
    CHECK(d.plugin("steady").at("state") == "running");
    CHECK(d.stop() == 0);
  }
}
