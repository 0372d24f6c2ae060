#include "tests/unit/daemon/config/config_files.hpp"

using namespace smarmd;
using namespace smarmd::config_test;

TEST_SUITE_BEGIN("config: fragments");

TEST_CASE("objects merge deeply, lists and scalars replace") {
  const ConfigFiles files(R"({
    "runtime": {"threads": 1, "alloc_interval": 7},
    "plugins": {"directory": ["/a", "/b"], "overrides": {"echo": {"max_restarts": 1, "config": {"x": {"a": 1, "b": 2}, "l": [1, 2]}}}},
    "metrics": {"listen": "127.0.0.1:1"}})");
  files.write("conf.d/10-site.json", R"({
    "runtime": {"threads": 2},
    "plugins": {"directory": "/c", "overrides": {"echo": {"window_s": 9, "config": {"x": {"b": 3}, "l": [4]}}, "primes": {"enabled": false}}},
    "metrics": {"listen": null}})");
  const Config c = files.load().value();
  CHECK(c.runtime.threads == 2);
  CHECK(c.runtime.alloc_interval == 7);
  CHECK(c.plugins.directory == std::vector<std::filesystem::path>{"/c"});
  CHECK(c.plugins.overrides.at("echo").max_restarts == 1);
  CHECK(c.plugins.overrides.at("echo").window_s == 9);
  CHECK(c.plugins.overrides.at("echo").config == R"({"l":[4],"x":{"a":1,"b":3}})");
  CHECK_FALSE(c.plugins.overrides.at("primes").enabled);
  CHECK(c.metrics.listen.empty());
}

TEST_CASE("fragments apply in the order of their names") {
  const ConfigFiles files("{}");
  files.write("conf.d/20.json", R"({"runtime": {"threads": 20}})");
  files.write("conf.d/100.json", R"({"runtime": {"threads": 100, "alloc_interval": 100}})");
  files.write("conf.d/10.json", R"({"runtime": {"threads": 10, "alloc_interval": 10}})");
  const Config c = files.load().value();
  CHECK(c.runtime.threads == 20);
  CHECK(c.runtime.alloc_interval == 100);
}

TEST_CASE("only *.json counts, dotfiles do not") {
  const ConfigFiles files("{}");
  files.write("conf.d/.hidden.json", "broken");
  files.write("conf.d/10.json.bak", "broken");
  files.write("conf.d/README", "broken");
  files.write("conf.d/sub/10.json", "broken");
  CHECK(files.load().has_value());
}

TEST_CASE("an error in a fragment names the fragment") {
  const ConfigFiles files(R"({"runtime": {"threads": 5000}})");
  const auto second = files.write("conf.d/20.json", "{\n  \"log\": {\"level\": 3}}");
  const auto first = files.write("conf.d/10.json", "{\"log\": }");
  const auto config = files.load();
  REQUIRE_FALSE(config.has_value());
  INFO(all_texts(config.error()));
  REQUIRE(config.error().size() == 3);
  CHECK(config.error()[0].file == files.main_file().string());
  CHECK(config.error()[0].pointer == "/runtime/threads");
  CHECK(config.error()[1].file == first.string());
  CHECK(config.error()[1].line == 1);
  CHECK(config.error()[1].column == 9);
  CHECK(config.error()[2].file == second.string());
  CHECK(config.error()[2].pointer == "/log/level");
  CHECK(config.error()[2].line == 2);
  CHECK(config.error()[2].column == 11);
}

TEST_CASE("every file must be right by itself, also where a later one replaces the value") {
  const ConfigFiles files(R"({"runtime": {"threads": "x"}})");
  files.write("conf.d/10.json", R"({"runtime": {"threads": 1}})");
  CHECK_FALSE(files.load().has_value());
}

TEST_CASE("the errors of fragments are told beside a missing main file") {
  const ConfigFiles files;
  const auto fragment = files.write("conf.d/10.json", "[]");
  const auto config = files.load();
  REQUIRE_FALSE(config.has_value());
  REQUIRE(config.error().size() == 2);
  CHECK(config.error()[0].message == "there is no such config file");
  CHECK(config.error()[1].file == fragment.string());
}

TEST_CASE("in a later file one spelling of the timeslice replaces the other") {
  const ConfigFiles to_us(R"({"runtime": {"timeslice_cycles": 5000}})");
  to_us.write("conf.d/10.json", R"({"runtime": {"timeslice_us": 50}})");
  CHECK(to_us.load().value().runtime.timeslice_us == 50);
  CHECK(to_us.load().value().runtime.timeslice_cycles == Config{}.runtime.timeslice_cycles);

  const ConfigFiles to_cycles(R"({"runtime": {"timeslice_us": 50}})");
  to_cycles.write("conf.d/10.json", R"({"runtime": {"timeslice_cycles": 5000}})");
  CHECK_FALSE(to_cycles.load().value().runtime.timeslice_us.has_value());
  CHECK(to_cycles.load().value().runtime.timeslice_cycles == 5000);
}

TEST_CASE("a fragment that is a directory and a conf.d that is a file are errors") {
  const ConfigFiles files("{}");
  std::filesystem::create_directories(files.path("conf.d/10.json"));
  const auto config = files.load();
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().front().file == files.path("conf.d/10.json").string());

  const ConfigFiles other("{}");
  other.write("conf.d", "{}");
  const auto not_a_directory = other.load();
  REQUIRE_FALSE(not_a_directory.has_value());
  CHECK(not_a_directory.error().front().file == other.path("conf.d").string());
  CHECK(not_a_directory.error().front().message.find("Not a directory") != std::string::npos);
}

TEST_SUITE_END();
