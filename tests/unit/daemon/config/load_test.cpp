#include "tests/unit/daemon/config/config_files.hpp"

#include <nlohmann/json.hpp>

using namespace smarmd;
using namespace smarmd::config_test;

TEST_SUITE_BEGIN("config: load");

TEST_CASE("an empty object takes every default") {
  CHECK(loaded("{}") == Config{});
  CHECK(
      loaded(
          R"({"runtime": {}, "plugins": {"defaults": {}, "overrides": {}}, "log": {}, "control": {}, "metrics": {}})") ==
      Config{});
}

TEST_CASE("the defaults are those of the design") {
  const Config c;
  CHECK(c.runtime.threads == 0);
  CHECK(c.runtime.timeslice_cycles == 300'000);
  CHECK_FALSE(c.runtime.timeslice_us.has_value());
  CHECK(c.runtime.alloc_interval == 128);
  CHECK(c.runtime.stack_kib == 64);
  CHECK(c.runtime.io_backend == smarm::IoBackend::epoll);
  CHECK(c.runtime.async_preempt_ms == 10);
  CHECK(c.runtime.hibernate_after_ms == 0);
  CHECK(c.runtime.mailbox_warn == 65'536);
  CHECK(c.runtime.blocking_threads == 64);
  CHECK(c.runtime.on_fault == OnFault::panic_safe);
  CHECK(c.runtime.shutdown_ms == 10'000);
  CHECK(c.plugins.directory == std::vector<std::filesystem::path>{"/usr/lib/smarmd/plugins"});
  CHECK(c.plugins.watch);
  CHECK(c.plugins.state_directory == "/var/lib/smarmd");
  CHECK(c.plugins.defaults == PluginDefaults{RestartType::permanent, 5, 60, {100, 30'000}, 0});
  CHECK(c.plugins.overrides.empty());
  CHECK(c.log.level == smarm::LogLevel::info);
  CHECK(c.log.format == LogFormat::automatic);
  CHECK(c.control.socket == "/run/smarmd/control.sock");
  CHECK(c.metrics.listen == "127.0.0.1:9464");
}

TEST_CASE("every key arrives in its member") {
  const Config c = loaded(R"({
    "$schema": "./smarmd.schema.json",
    "runtime": { "threads": 3, "timeslice_cycles": 4000, "alloc_interval": 5, "stack_kib": 128, "io_backend": "io_uring", "async_preempt_ms": 6,
                 "hibernate_after_ms": 7, "mailbox_warn": 20, "blocking_threads": 8, "on_fault": "abort", "shutdown_ms": 9 },
    "plugins": { "directory": ["/a", "b/c"], "watch": false, "state_directory": "/state",
                 "defaults": { "restart": "temporary", "max_restarts": 10, "window_s": 11, "backoff_ms": [12, 13], "mailbox_limit": 21 },
                 "overrides": { "echo": { "enabled": false, "restart": "transient", "max_restarts": 14, "window_s": 15, "backoff_ms": [16, 17], "mailbox_limit": 22,
                                          "config": { "b": [1, 2.5, "x"], "a": { } } } } },
    "log": { "level": "warn", "format": "journald" },
    "control": { "socket": "/run/s" },
    "metrics": { "listen": "[::1]:0" }
  })");
  Config expected;
  expected.runtime.threads = 3;
  expected.runtime.timeslice_cycles = 4000;
  expected.runtime.alloc_interval = 5;
  expected.runtime.stack_kib = 128;
  expected.runtime.io_backend = smarm::IoBackend::io_uring;
  expected.runtime.async_preempt_ms = 6;
  expected.runtime.hibernate_after_ms = 7;
  expected.runtime.mailbox_warn = 20;
  expected.runtime.blocking_threads = 8;
  expected.runtime.on_fault = OnFault::abort;
  expected.runtime.shutdown_ms = 9;
  expected.plugins.directory = {"/a", "b/c"};
  expected.plugins.watch = false;
  expected.plugins.state_directory = "/state";
  expected.plugins.defaults = {RestartType::temporary, 10, 11, {12, 13}, 21};
  expected.plugins.overrides["echo"] = {
      false, RestartType::transient, 14, 15, Backoff{16, 17}, 22, R"({"a":{},"b":[1,2.5,"x"]})"};
  expected.log = {smarm::LogLevel::warn, LogFormat::journald};
  expected.control.socket = "/run/s";
  expected.metrics.listen = "[::1]:0";
  CHECK(c == expected);
}

TEST_CASE("every name of a choice means its enumerator") {
  const auto level = [](const char* name) {
    return loaded(std::string(R"({"log": {"level": ")") + name + "\"}}").log.level;
  };
  CHECK(level("trace") == smarm::LogLevel::trace);
  CHECK(level("debug") == smarm::LogLevel::debug);
  CHECK(level("error") == smarm::LogLevel::error);
  CHECK(level("critical") == smarm::LogLevel::critical);
  const auto format = [](const char* name) {
    return loaded(std::string(R"({"log": {"format": ")") + name + "\"}}").log.format;
  };
  CHECK(format("auto") == LogFormat::automatic);
  CHECK(format("text") == LogFormat::text);
  CHECK(format("json") == LogFormat::json);
  const auto fault = [](const char* name) {
    return loaded(std::string(R"({"runtime": {"on_fault": ")") + name + "\"}}").runtime.on_fault;
  };
  CHECK(fault("panic_safe") == OnFault::panic_safe);
  CHECK(fault("panic") == OnFault::panic);
  CHECK(name_of(LogFormat::automatic) == "auto");
  CHECK(name_of(smarm::LogLevel::warn) == "warn");
  CHECK(name_of(smarm::IoBackend::io_uring) == "io_uring");
  CHECK(name_of(OnFault::panic) == "panic");
  CHECK(name_of(RestartType::transient) == "transient");
}

TEST_CASE("timeslice_us is kept as written") {
  const Config c = loaded(R"({"runtime": {"timeslice_us": 250}})");
  CHECK(c.runtime.timeslice_us == 250);
  CHECK(c.runtime.timeslice_cycles == 300'000);
}

TEST_CASE("a plugin directory is a path or a list of paths") {
  using Paths = std::vector<std::filesystem::path>;
  CHECK(loaded(R"({"plugins": {"directory": "/one"}})").plugins.directory == Paths{"/one"});
  CHECK(loaded(R"({"plugins": {"directory": ["/one"]}})").plugins.directory == Paths{"/one"});
  CHECK(loaded(R"({"plugins": {"directory": ["/b", "/a"]}})").plugins.directory ==
        Paths{"/b", "/a"});
}

TEST_CASE("null and an empty text both turn metrics off") {
  CHECK(loaded(R"({"metrics": {"listen": null}})").metrics.listen.empty());
  CHECK(loaded(R"({"metrics": {"listen": ""}})").metrics.listen.empty());
}

TEST_CASE("a number without a fraction is an integer, however it is written") {
  CHECK(loaded(R"({"runtime": {"shutdown_ms": 2e3}})").runtime.shutdown_ms == 2000);
  CHECK(loaded(R"({"runtime": {"threads": 4.0}})").runtime.threads == 4);
  CHECK(loaded(R"({"runtime": {"threads": -0}})").runtime.threads == 0);
  CHECK(loaded(R"({"plugins": {"defaults": {"backoff_ms": [1e1, 2.0e1]}}})")
            .plugins.defaults.backoff == Backoff{10, 20});
}

TEST_CASE("a byte order mark is passed over") {
  CHECK(loaded("\xef\xbb\xbf{\"runtime\": {\"threads\": 2}}").runtime.threads == 2);
}

TEST_CASE("systemd's STATE_DIRECTORY comes before the default and after the file") {
  const ConfigFiles plain("{}"), written(R"({"plugins": {"state_directory": "/mine"}})");
  {
    const ScopedEnv env("STATE_DIRECTORY", "/var/lib/private/smarmd");
    CHECK(plain.load()->plugins.state_directory == "/var/lib/private/smarmd");
    CHECK(written.load()->plugins.state_directory == "/mine");
  }
  {
    const ScopedEnv several("STATE_DIRECTORY", "/first:/second");
    CHECK(plain.load()->plugins.state_directory == "/first");
  }
  {
    const ScopedEnv empty("STATE_DIRECTORY", "");
    CHECK(plain.load()->plugins.state_directory == "/var/lib/smarmd");
  }
}

TEST_CASE("a missing file says how to create it") {
  const ConfigFiles files;
  const auto config = load_config(files.path("etc/smarmd.json"));
  REQUIRE_FALSE(config.has_value());
  REQUIRE(config.error().size() == 1);
  const ConfigError& e = config.error().front();
  CHECK(e.file == files.path("etc/smarmd.json").string());
  CHECK(e.pointer == "");
  CHECK(e.message == "there is no such config file");
  CHECK(e.hint.find("mkdir -p " + files.path("etc").string() + " && echo '{}' > " + e.file) !=
        std::string::npos);
}

TEST_CASE("what is not a regular file is refused without waiting for it") {
  const ConfigFiles files;
  const auto directory = load_config(files.path(""));
  REQUIRE_FALSE(directory.has_value());
  CHECK(directory.error().front().message == "not a regular file");

  REQUIRE(std::system(("mkfifo '" + files.main_file().string() + "'").c_str()) == 0);
  const auto fifo = files.load();
  REQUIRE_FALSE(fifo.has_value());
  CHECK(fifo.error().front().message == "not a regular file");
}

TEST_CASE("a dangling link is an error of reading") {
  const ConfigFiles files;
  std::filesystem::create_symlink(files.path("nowhere"), files.main_file());
  const auto config = files.load();
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().front().message == "cannot read the file: No such file or directory");
}

TEST_CASE("a file over 1 MiB is refused, one of 1 MiB is read") {
  const std::string fits = "{}" + std::string((1 << 20) - 2, ' ');
  CHECK(loaded(fits) == Config{});
  CHECK(error_of(fits + " ").message == "larger than 1048576 bytes");
}

TEST_SUITE_END();
