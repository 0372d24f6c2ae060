// A mailbox that nobody empties: records, gauges, a limit; the daemon and its neighbours go on.
#include "tests/integration/echo_client.hpp"

#include <chrono>
#include <string>
#include <thread>

using namespace integration;

namespace {

constexpr long kMessages = 300'000;

void install_stuck(DaemonProcess& d, long limit) {
  d.config["runtime"]["mailbox_warn"] = 8192;
  d.config["plugins"]["overrides"]["stuck_mailbox"] = {{"mailbox_limit", limit},
                                                       {"config", {{"messages", kMessages}}}};
  d.install("stuck_mailbox");
}

long number(const Json& record, const char* key) { return record.at(key).get<long>(); }

const Match kStuck = {{"plugin", "stuck_mailbox"}};

}  // namespace

TEST_SUITE("mailboxes") {
  TEST_CASE("a mailbox that grows is logged at doubling depths, and shown; echo answers on") {
    for (const int threads : {1, 2, 4}) {
      CAPTURE(threads);
      DaemonProcess d;
      d.config["runtime"]["threads"] = threads;
      const std::uint16_t port = install_echo(d);
      install_stuck(d, 0);
      d.start_ready();
      EchoClient client(d, port);
      d.wait_log("plugin.log", {{"message", "sent 300000, refused 0"}});
      CHECK(client.answers());
      const std::vector<Json> grown = d.logged("mailbox.grew", kStuck);
      REQUIRE(grown.size() == 6);  // 8192 to 262144
      long threshold = 8192;
      const std::string root = d.plugin("stuck_mailbox").at("pid");
      for (const Json& g : grown) {
        CHECK(number(g, "depth") >= threshold);
        CHECK(number(g, "depth") <= threshold + 1024);
        CHECK(number(g, "bytes") >= number(g, "depth") * 116);
        threshold *= 2;
        CHECK(g.at("name") == "stuck");
        CHECK(g.at("sender") == root);
        CHECK(g.at("sender_plugin") == "stuck_mailbox");
        CHECK(g.at("actor") != root);
        const std::string text = g.at("message");
        CHECK_MESSAGE(
            text.find("stuck_mailbox: the mailbox of actor " + g.at("actor").get<std::string>() +
                      " (stuck) grows, " + std::to_string(number(g, "depth")) + " messages") == 0,
            text);
        CHECK(text.find("/plugins/overrides/stuck_mailbox/mailbox_limit") != text.npos);
      }
      CHECK(d.plugin("stuck_mailbox").at("mailbox_depth_max").get<long>() >= kMessages);
      CHECK(d.plugin("echo").at("mailbox_depth_max") == 0);
      const std::string shown = d.ctl({"plugin", "stuck_mailbox"}).out;
      CHECK_MESSAGE(shown.find("the fullest has 300") != shown.npos, shown);
      CHECK(d.logged("mailbox.full").empty());
      // With the plugin its mailbox goes.
      CHECK(d.ctl({"restart", "stuck_mailbox"}).exit == 0);
      d.wait_log("plugin.log", {{"message", "sent 300000, refused 0"}}, 2);
      CHECK(d.plugin("stuck_mailbox").at("mailbox_depth_max").get<long>() < 2 * kMessages);
      CHECK(d.stop() == 0);
    }
  }

  TEST_CASE("with a limit the sender gets an error, the daemon lives, and a reload changes it") {
    DaemonProcess d;
    const std::uint16_t port = install_echo(d);
    install_stuck(d, 10'000);
    d.start_ready();
    EchoClient client(d, port);
    d.wait_log("plugin.log", {{"message", "sent 10000, refused 290000"}});
    CHECK(client.answers());
    const std::vector<Json> full = d.logged("mailbox.full", kStuck);
    REQUIRE(full.size() == 1);
    CHECK(full[0].at("depth") == 10'000);
    CHECK(full[0].at("name") == "stuck");
    const Json shown = d.plugin("stuck_mailbox");
    CHECK(shown.at("state") == "running");
    CHECK(shown.at("restarts") == 0);
    CHECK(shown.at("policy").at("mailbox_limit") == 10'000);
    CHECK(shown.at("mailbox_depth_max") == 10'000);
    CHECK(shown.at("mailbox_refused").get<long>() >= 290'000);
    d.config["plugins"]["overrides"]["stuck_mailbox"]["mailbox_limit"] = 20'000;
    d.write_config();
    const Output reloaded = d.ctl({"--json", "reload"});
    CHECK(reloaded.exit == 0);
    CHECK(reloaded.json().at("result").at("applied") ==
          Json::array({"/plugins/overrides/stuck_mailbox/mailbox_limit"}));
    d.wait_log("plugin.log", {{"message", "taken again"}});
    CHECK(d.plugin("stuck_mailbox").at("pid") == shown.at("pid"));
    CHECK(client.answers());
    CHECK(d.stop() == 0);
  }

  SIGNAL_CASE(
      "a reload switches the preemption of loops on and off; it is counted for the plugin") {
    DaemonProcess d;
    d.config["runtime"]["threads"] = 2;
    d.config["runtime"]["async_preempt_ms"] = 0;
    d.config["runtime"]["shutdown_ms"] = 300;
    d.install("spin");
    d.start_ready();
    d.wait_log("plugin.log", {{"message", "spin starts"}});
    const auto preempted = [&] { return d.plugin("spin").at("preempted_async").get<long>(); };
    const auto reload = [&](int ms) {
      d.config["runtime"]["async_preempt_ms"] = ms;
      d.write_config();
      const Output out = d.ctl({"--json", "reload"});
      CHECK(out.exit == 0);
      CHECK(out.json().at("result").at("applied") == Json::array({"/runtime/async_preempt_ms"}));
    };
    CHECK(preempted() == 0);
    reload(1);
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (preempted() < 20 && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(5ms);
    CHECK(preempted() >= 20);
    reload(0);
    const long before = preempted();
    std::this_thread::sleep_for(50ms);
    CHECK(preempted() <= before + 1);  // one that was under way
    reload(1);                         // so that the daemon can stop it
    CHECK(d.stop() == 0);
  }
}
