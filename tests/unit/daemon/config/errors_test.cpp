#include "tests/unit/daemon/config/config_files.hpp"

using namespace smarmd;
using namespace smarmd::config_test;

TEST_SUITE_BEGIN("config: errors");

namespace {

struct Wrong {
  const char* text;
  const char* pointer;
  const char* message;
  const char* hint;
};

void check_each(const std::vector<Wrong>& cases) {
  for (const Wrong& w : cases) {
    INFO(w.text);
    const ConfigError e = error_of(w.text);
    CHECK(e.pointer == w.pointer);
    CHECK(e.message == w.message);
    CHECK(e.hint == w.hint);
    CHECK(e.line == 1);
    CHECK(e.column > 0);
  }
}

}  // namespace

TEST_CASE("an unknown key names its pointer and the nearest known key") {
  check_each({
      {R"({"runtime": {"timeslice_cyles": 1}})", "/runtime/timeslice_cyles", "unknown key",
       "did you mean /runtime/timeslice_cycles?"},
      {R"({"runtime": {"Threads": 1}})", "/runtime/Threads", "unknown key",
       "did you mean /runtime/threads?"},
      {R"({"runtime": {"alloc-interval": 1}})", "/runtime/alloc-interval", "unknown key",
       "did you mean /runtime/alloc_interval?"},
      {R"({"runtmie": {}})", "/runtmie", "unknown key", "did you mean /runtime?"},
      {R"({"plugins": {"dir": "/a"}})", "/plugins/dir", "unknown key",
       "did you mean /plugins/directory?"},
      {R"({"plugins": {"default": {}}})", "/plugins/default", "unknown key",
       "did you mean /plugins/defaults?"},
      {R"({"plugins": {"defaults": {"backof_ms": []}}})", "/plugins/defaults/backof_ms",
       "unknown key", "did you mean /plugins/defaults/backoff_ms?"},
      {R"({"plugins": {"overrides": {"echo": {"enable": true}}}})",
       "/plugins/overrides/echo/enable", "unknown key",
       "did you mean /plugins/overrides/echo/enabled?"},
      {R"({"schema": "x"})", "/schema", "unknown key", "did you mean /$schema?"},
      {R"({"log": {"a/b~c": 1}})", "/log/a~1b~0c", "unknown key", "known here: level, format"},
  });
}

TEST_CASE("a key in the wrong object names the right one") {
  check_each({
      {R"({"threads": 4})", "/threads", "unknown key", "did you mean /runtime/threads?"},
      {R"({"runtime": {"level": "info"}})", "/runtime/level", "unknown key",
       "did you mean /log/level?"},
      {R"({"plugins": {"echo": {"enabled": false}}})", "/plugins/echo", "unknown key",
       "plugins are named one level down: did you mean /plugins/overrides/echo?"},
      {R"({"plugins": {"overrides": {"echo": {"listen": 1}}}})", "/plugins/overrides/echo/listen",
       "unknown key",
       "known here: enabled, restart, max_restarts, window_s, backoff_ms, mailbox_limit, config; "
       "keys "
       "of the "
       "plugin itself go into "
       "/plugins/overrides/echo/config"},
      {R"({"xyzzy": 1})", "/xyzzy", "unknown key",
       "known here: $schema, runtime, plugins, log, control, metrics"},
      {R"({"runtime": {"defaults": {"restart": "permanent"}, "threads": 1}})", "/runtime/defaults",
       "unknown key",
       "known here: threads, timeslice_cycles, timeslice_us, alloc_interval, stack_kib, "
       "io_backend, async_preempt_ms, hibernate_after_ms, "
       "mailbox_warn, blocking_threads, on_fault, shutdown_ms"},
  });
}

TEST_CASE("a wrong type names what was expected and what came") {
  check_each({
      {R"([])", "", "expected object, got array []",
       "a config is one object: {} takes every default"},
      {R"(null)", "", "expected object, got null",
       "a config is one object: {} takes every default"},
      {R"({"runtime": 5})", "/runtime", "expected object, got integer 5", ""},
      {R"({"plugins": {"overrides": []}})", "/plugins/overrides", "expected object, got array []",
       ""},
      {R"({"plugins": {"overrides": {"echo": false}}})", "/plugins/overrides/echo",
       "expected object, got boolean false", ""},
      {R"({"runtime": {"threads": "4"}})", "/runtime/threads", "expected integer, got string \"4\"",
       "write 4 without quotes"},
      {R"({"runtime": {"threads": "four"}})", "/runtime/threads",
       "expected integer, got string \"four\"", ""},
      {R"({"runtime": {"threads": 1.5}})", "/runtime/threads", "expected integer, got number 1.5",
       ""},
      {R"({"runtime": {"threads": null}})", "/runtime/threads", "expected integer, got null", ""},
      {R"({"runtime": {"stack_kib": true}})", "/runtime/stack_kib",
       "expected integer, got boolean true", ""},
      {R"({"plugins": {"watch": "yes"}})", "/plugins/watch", "expected boolean, got string \"yes\"",
       "write true or false, without quotes"},
      {R"({"plugins": {"directory": 1}})", "/plugins/directory",
       "expected string or array, got integer 1", ""},
      {R"({"plugins": {"directory": ["/a", {}]}})", "/plugins/directory/1",
       "expected string, got object {}", ""},
      {R"({"plugins": {"state_directory": []}})", "/plugins/state_directory",
       "expected string, got array []", ""},
      {R"({"plugins": {"defaults": {"restart": 1}}})", "/plugins/defaults/restart",
       "expected string, got integer 1", "one of: permanent, transient, temporary"},
      {R"({"plugins": {"defaults": {"backoff_ms": 100}}})", "/plugins/defaults/backoff_ms",
       "expected array, got integer 100", "write it as [min, max] in milliseconds"},
      {R"({"plugins": {"defaults": {"backoff_ms": [1, "2"]}}})", "/plugins/defaults/backoff_ms/1",
       "expected integer, got string \"2\"", "write 2 without quotes"},
      {R"({"plugins": {"overrides": {"echo": {"config": "x"}}}})", "/plugins/overrides/echo/config",
       "expected object, got string \"x\"", ""},
      {R"({"metrics": {"listen": 9464}})", "/metrics/listen",
       "expected string or null, got integer 9464", "\"\" or null turns it off"},
      {R"({"$schema": 1})", "/$schema", "expected string, got integer 1", ""},
  });
}

TEST_CASE("a value out of its range says the range") {
  check_each({
      {R"({"runtime": {"threads": 1025}})", "/runtime/threads",
       "1025 is out of range, expected 0 to 1024", ""},
      {R"({"runtime": {"threads": -1}})", "/runtime/threads",
       "-1 is out of range, expected 0 to 1024", ""},
      {R"({"runtime": {"threads": 18446744073709551616}})", "/runtime/threads",
       "1.8446744073709552e+19 is out of range, expected 0 to 1024", ""},
      {R"({"runtime": {"threads": 4294967296}})", "/runtime/threads",
       "4294967296 is out of range, expected 0 to 1024", ""},
      {R"({"runtime": {"threads": -2.0}})", "/runtime/threads",
       "-2.0 is out of range, expected 0 to 1024", ""},
      {R"({"runtime": {"alloc_interval": 0}})", "/runtime/alloc_interval",
       "0 is out of range, expected 1 to 1000000", ""},
      {R"({"runtime": {"stack_kib": 8}})", "/runtime/stack_kib",
       "8 is out of range, expected 16 to 65536", ""},
      {R"({"runtime": {"stack_kib": 100}})", "/runtime/stack_kib", "100 is not a power of two",
       "take 64 or 128"},
      {R"({"runtime": {"io_backend": "uring"}})", "/runtime/io_backend",
       "\"uring\" is not one of: epoll, io_uring", "did you mean \"io_uring\"?"},
      {R"({"log": {"level": "loud"}})", "/log/level",
       "\"loud\" is not one of: trace, debug, info, warn, error, critical", ""},
      {R"({"plugins": {"overrides": {"echo": {"restart": "always"}}}})",
       "/plugins/overrides/echo/restart",
       "\"always\" is not one of: permanent, transient, temporary", ""},
      {R"({"plugins": {"directory": []}})", "/plugins/directory", "the list is empty",
       "name at least one directory"},
      {R"({"plugins": {"directory": ["/a", "/b", "/a"]}})", "/plugins/directory/2",
       "\"/a\" stands twice in the list", "keep one of them"},
      {R"({"plugins": {"directory": ""}})", "/plugins/directory", "the path is empty",
       "write a path, or leave the key out to take the default"},
      {R"({"plugins": {"directory": "/a\u0000b"}})", "/plugins/directory",
       "the path contains a zero character", "remove it"},
      {R"({"plugins": {"defaults": {"backoff_ms": [1]}}})", "/plugins/defaults/backoff_ms",
       "expected 2 elements, got 1", "write it as [min, max] in milliseconds"},
      {R"({"plugins": {"defaults": {"backoff_ms": [200, 100]}}})", "/plugins/defaults/backoff_ms",
       "the minimum 200 is above the maximum 100", "write it as [min, max] in milliseconds"},
      {R"({"plugins": {"defaults": {"backoff_ms": [0, 3600001]}}})",
       "/plugins/defaults/backoff_ms/1", "3600001 is out of range, expected 0 to 3600000", ""},
      {R"({"metrics": {"listen": ":9464"}})", "/metrics/listen", "\":9464\" is not ADDRESS:PORT",
       "write it as \"127.0.0.1:9464\" or \"[::1]:9464\"; \"\" turns it off"},
      {R"({"plugins": {"overrides": {"a b": {}}}})", "/plugins/overrides/a b",
       "not a plugin's name", "a name has letters, digits, - and _, 1 to 63 of them"},
      {R"({"plugins": {"overrides": {"": {}}}})", "/plugins/overrides/", "not a plugin's name",
       "a name has letters, digits, - and _, 1 to 63 of them"},
      {R"({"plugins": {"overrides": {"*": {}}}})", "/plugins/overrides/*", "not a plugin's name",
       "a name has letters, digits, - and _, 1 to 63 of them"},
      {R"({"runtime": {"timeslice_us": 1, "timeslice_cycles": 300000}})", "/runtime/timeslice_us",
       "timeslice_us and timeslice_cycles are both written", "keep one of them"},
  });
}

TEST_CASE("a socket path must fit the kernel's address") {
  const auto with = [](std::size_t bytes) {
    return R"({"control": {"socket": ")" + std::string(bytes, 's') + "\"}}";
  };
  CHECK(loaded(with(107)).control.socket.string().size() == 107);
  const ConfigError e = error_of(with(108));
  CHECK(e.pointer == "/control/socket");
  CHECK(e.message == "the path has 108 bytes, expected at most 107");
}

TEST_CASE("a plugin's name has up to 63 characters") {
  const auto with = [](std::size_t size) {
    return R"({"plugins": {"overrides": {")" + std::string(size, 'p') +
           R"(": {"enabled": false}}}})";
  };
  CHECK(loaded(with(63)).plugins.overrides.size() == 1);
  CHECK(error_of(with(64)).message == "not a plugin's name");
}

TEST_CASE("a plugin's own config may hold any keys") {
  const Config c = loaded(
      R"({"plugins": {"overrides": {"echo": {"config": {"threads": "many", "x": {"y": null}}}}}})");
  CHECK(c.plugins.overrides.at("echo").config == R"({"threads":"many","x":{"y":null}})");
}

TEST_CASE("a key that stands twice is an error wherever it is") {
  check_each({
      {R"({"runtime": {"threads": 1, "threads": 1}})", "/runtime/threads",
       "the key stands twice in one object", "keep one of them"},
      {R"({"log": {}, "log": {}})", "/log", "the key stands twice in one object",
       "keep one of them"},
      {R"({"plugins": {"overrides": {"echo": {}, "echo": {}}}})", "/plugins/overrides/echo",
       "the key stands twice in one object", "keep one of them"},
      {R"({"plugins": {"overrides": {"echo": {"config": {"list": [1, {"a/b": 1, "a/b": 2}]}}}}})",
       "/plugins/overrides/echo/config/list/1/a~1b", "the key stands twice in one object",
       "keep one of them"},
  });
  CHECK(
      loaded(R"({"plugins": {"overrides": {"echo": {"config": {"a": {"x": 1}, "b": {"x": 1}}}}}})")
          .plugins.overrides.size() == 1);
}

TEST_CASE("a syntax error has line and column") {
  struct Broken {
    const char* text;
    std::size_t line, column;
    const char* hint;
  };
  const std::vector<Broken> cases = {
      {"{\n  \"log\": {},\n}", 3, 1, "remove the comma before it, or write what is missing"},
      {"{\"plugins\": {\"directory\": [\"/a\", ]}}", 1, 34,
       "remove the comma before it, or write what is missing"},
      {"{\n  \"log\": {}\n  \"x\": 1}", 3, 5, "a comma is missing before it"},
      {"{\n  // no\n}", 2, 3, "JSON has no comments: remove it"},
      {"{'log': {}}", 1, 2, "JSON takes double quotes only"},
      {"{\"log\" {}}", 1, 8, "a colon is missing before it"},
      {"{}\n{}", 2, 1, "a config is one object: remove what follows it"},
      {"{\"log\": {", 1, 10, "the text ends too early: a closing } or ] or \" is missing"},
      {"", 1, 1, "the file is empty: write {} to take every default"},
      {" \n\n", 3, 1, "the file is empty: write {} to take every default"},
      {"{\"log\": nul}", 1, 12, ""},
      {"{\"x\": \"\xff\"}", 1, 8, ""},
  };
  for (const Broken& b : cases) {
    INFO(b.text);
    const ConfigError e = error_of(b.text);
    CHECK(e.pointer == "");
    CHECK(e.line == b.line);
    CHECK(e.column == b.column);
    CHECK(e.hint == b.hint);
    CHECK(e.message.find("[json.exception") == std::string::npos);
    CHECK_FALSE(e.message.empty());
  }
}

TEST_CASE("a number that no double holds is an error") {
  const ConfigError e = error_of(R"({"runtime": {"threads": 1e999}})");
  CHECK(e.message == "number overflow parsing '1e999'");
  CHECK(e.line == 1);
}

TEST_CASE("nesting has a limit") {
  const auto nested = [](std::size_t lists) {
    return R"({"plugins": {"overrides": {"echo": {"config": {"x": )" + std::string(lists, '[') +
           std::string(lists, ']') + "}}}}}";
  };
  CHECK(loaded(nested(59)).plugins.overrides.size() == 1);
  CHECK(error_of(nested(60)).message == "nested deeper than 64 levels");
  CHECK(error_of(nested(400'000)).message == "nested deeper than 64 levels");
}

TEST_CASE("all errors come at once, in the order of the file") {
  const std::vector<ConfigError> errors = errors_of(R"({
  "runtime": {
    "threads": "4",
    "nope": 1,
    "alloc_interval": 0,
    "alloc_interval": 2000000
  },
  "log": { "level": "loud" },
  "metrics": { "listen": 1 },
  "control": null
})");
  const std::vector<std::pair<std::string, std::size_t>> expected = {{"/runtime/threads", 3},
                                                                     {"/runtime/nope", 4},
                                                                     {"/runtime/alloc_interval", 6},
                                                                     {"/runtime/alloc_interval", 6},
                                                                     {"/log/level", 8},
                                                                     {"/metrics/listen", 9},
                                                                     {"/control", 10}};
  INFO(all_texts(errors));
  REQUIRE(errors.size() == expected.size());
  for (std::size_t i = 0; i < errors.size(); ++i) {
    CHECK(errors[i].pointer == expected[i].first);
    CHECK(errors[i].line == expected[i].second);
  }
}

TEST_CASE("an error is one line: file, place, pointer, message, hint") {
  const ConfigFiles files("{\n  \"runtime\": {\n    \"thread\": 1 } }");
  const auto config = files.load();
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().front().text() ==
        files.main_file().string() +
            ":3:5: /runtime/thread: unknown key (did you mean /runtime/threads?)");
  CHECK(error_of(R"({"a\nb": 1})").text().find('\n') == std::string::npos);
  CHECK(ConfigError{.file = "f", .pointer = "", .message = "m", .hint = ""}.text() == "f: m");
}

TEST_SUITE_END();
