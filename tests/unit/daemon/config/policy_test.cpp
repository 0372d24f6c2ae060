#include "tests/unit/daemon/config/config_files.hpp"

using namespace smarmd;
using namespace smarmd::config_test;
using Wish = smarm::plugin::Restart;

TEST_SUITE_BEGIN("config: policy");

TEST_CASE("a plugin without an override is enabled and takes the defaults") {
  CHECK(Config{}.policy_for("any") == PluginPolicy{});
  const Config c = loaded(
      R"({"plugins": {"defaults": {"restart": "temporary", "max_restarts": 1, "window_s": 2, "backoff_ms": [3, 4], "mailbox_limit": 5}}})");
  CHECK(c.policy_for("any") == PluginPolicy{true, RestartType::temporary, 1, 2, {3, 4}, 5, "{}"});
}

TEST_CASE("an override replaces what it writes and nothing else") {
  const Config c = loaded(R"({"plugins": {"defaults": {"max_restarts": 8, "mailbox_limit": 6},
    "overrides": {"a": {"window_s": 9, "mailbox_limit": 0}, "b": {"enabled": false}, "c": {"config": {"k": 1}, "backoff_ms": [5, 5], "restart": "transient", "max_restarts": 0}}}})");
  CHECK(c.policy_for("a") ==
        PluginPolicy{true, RestartType::permanent, 8, 9, {100, 30'000}, 0, "{}"});
  CHECK(c.policy_for("b") ==
        PluginPolicy{false, RestartType::permanent, 8, 60, {100, 30'000}, 6, "{}"});
  CHECK(c.policy_for("c") ==
        PluginPolicy{true, RestartType::transient, 0, 60, {5, 5}, 6, R"({"k":1})"});
  CHECK(c.policy_for("A").window_s == 60);
}

TEST_CASE("the plugin's wish stands between override and defaults") {
  const Config c = loaded(
      R"({"plugins": {"defaults": {"restart": "transient"}, "overrides": {"fixed": {"restart": "permanent"}, "other": {"window_s": 1}}}})");
  CHECK(c.policy_for("none", Wish::by_config).restart == RestartType::transient);
  CHECK(c.policy_for("none", Wish::permanent).restart == RestartType::permanent);
  CHECK(c.policy_for("none", Wish::transient).restart == RestartType::transient);
  CHECK(c.policy_for("other", Wish::temporary).restart == RestartType::temporary);
  CHECK(c.policy_for("fixed", Wish::temporary).restart == RestartType::permanent);
}

TEST_CASE("a listen address is numeric or localhost, with a port") {
  CHECK(parse_listen("127.0.0.1:9464") == ListenAddress{"127.0.0.1", 9464, false});
  CHECK(parse_listen("0.0.0.0:0") == ListenAddress{"0.0.0.0", 0, false});
  CHECK(parse_listen("localhost:80") == ListenAddress{"127.0.0.1", 80, false});
  CHECK(parse_listen("[::1]:65535") == ListenAddress{"::1", 65535, true});
  CHECK(parse_listen("[::ffff:1.2.3.4]:1") == ListenAddress{"::ffff:1.2.3.4", 1, true});
  for (const char* wrong : {"",
                            ":",
                            "127.0.0.1",
                            ":9464",
                            "127.0.0.1:",
                            "127.0.0.1:65536",
                            "127.0.0.1:-1",
                            "127.0.0.1:+1",
                            "127.0.0.1: 1",
                            "127.0.0.1:1 ",
                            "127.0.0.1:01",
                            "127.0.0.1:0x1",
                            "256.0.0.1:1",
                            "1.2.3:1",
                            "::1:80",
                            "[::1]",
                            "[]:1",
                            "[::g]:1",
                            "[127.0.0.1]:1",
                            "[::1:80",
                            "example.org:80",
                            "localhost",
                            "[localhost]:1"}) {
    INFO(wrong);
    CHECK_FALSE(parse_listen(wrong).has_value());
  }
  CHECK_FALSE(parse_listen(std::string_view("127.0.0.1\0:80", 13)).has_value());
}

TEST_SUITE_END();
