// The published schema and README against the loader. The texts must be those that the table of
// keys gives; and the schema, read as anyone would read it, must describe what the loader really
// does.
#include "daemon/config/schema.hpp"

#include "tests/unit/daemon/config/config_files.hpp"

#include <functional>
#include <set>

#ifndef SMARM_SOURCE_DIR
#error "compile with -DSMARM_SOURCE_DIR=\"...\": the root of the source tree"
#endif

using namespace smarmd;
using namespace smarmd::configuration;
using namespace smarmd::config_test;

TEST_SUITE_BEGIN("config: schema and documentation");

namespace {

const std::filesystem::path kConfigDirectory = std::filesystem::path(SMARM_SOURCE_DIR) / "config";

bool asked_to_write() { return std::getenv("SMARM_WRITE_CONFIG_DOCS") != nullptr; }

void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

Json published_schema() { return Json::parse(read_file(kConfigDirectory / "smarmd.schema.json")); }

// One key as the schema alone shows it; the pointer has `probe` for a plugin's name.
struct SchemaKey {
  std::string pointer;
  Json schema;
};

// Every object must be closed; a property without properties of its own is a key.
void collect(const Json& object, const std::string& pointer, std::vector<SchemaKey>& out) {
  INFO(pointer);
  REQUIRE(object.at("type") == "object");
  const Json& more = object.at("additionalProperties");
  if (more.is_object()) {
    collect(more, pointer + "/probe", out);
  } else {
    CHECK(more == false);
  }
  const Json properties = object.value("properties", Json::object());
  for (const auto& [name, schema] : properties.items()) {
    const std::string at = std::string(pointer).append("/").append(name);
    const bool section = schema.contains("properties") || schema.contains("additionalProperties");
    if (section) {
      collect(schema, at, out);
    } else {
      out.push_back({at, schema});
    }
  }
}

std::vector<SchemaKey> schema_keys() {
  std::vector<SchemaKey> out;
  collect(published_schema(), "", out);
  return out;
}

// A config that holds only this value; whether the loader takes it.
std::string config_with(const std::string& pointer, const Json& value) {
  Json root = Json::object();
  root[Json::json_pointer(pointer)] = value;
  return root.dump();
}

bool loads(const std::string& pointer, const Json& value) {
  const ConfigFiles files(config_with(pointer, value));
  const auto config = files.load();
  if (config) return true;
  for (const ConfigError& e : config.error()) CHECK(e.pointer.starts_with(pointer));
  return false;
}

// The names of JSON types that a key's schema allows.
std::set<std::string> types_of(const Json& schema) {
  std::set<std::string> types;
  const Json alternatives = schema.value("oneOf", Json::array({schema}));
  for (const Json& one : alternatives) {
    const Json& type = one.at("type");
    if (type.is_array()) {
      for (const Json& t : type) types.insert(t.get<std::string>());
    } else {
      types.insert(type.get<std::string>());
    }
  }
  return types;
}

}  // namespace

TEST_CASE("the schema file is what the table of keys gives") {
  const auto path = kConfigDirectory / "smarmd.schema.json";
  if (asked_to_write()) write_file(path, schema_text());
  CHECK_MESSAGE(read_file(path) == schema_text(),
                "run this test with SMARM_WRITE_CONFIG_DOCS=1 to write config/smarmd.schema.json");
}

TEST_CASE("the README's table is what the table of keys gives") {
  static constexpr std::string_view kBegin = "<!-- keys -->\n", kEnd = "<!-- /keys -->";
  const auto path = kConfigDirectory / "README.md";
  std::string text = read_file(path);
  const auto begin = text.find(kBegin), end = text.find(kEnd);
  REQUIRE(begin != text.npos);
  REQUIRE(end != text.npos);
  const auto from = begin + kBegin.size();
  if (asked_to_write())
    write_file(path, text.substr(0, from) + documentation_table() + text.substr(end));
  text = read_file(path);
  CHECK_MESSAGE(
      text.substr(from, text.find(kEnd) - from) == documentation_table(),
      "run this test with SMARM_WRITE_CONFIG_DOCS=1 to write the table of config/README.md");
}

TEST_CASE("schema and loader know the same keys") {
  std::set<std::string> in_schema, in_loader;
  for (const SchemaKey& key : schema_keys()) in_schema.insert(key.pointer);
  for (const Key& key : keys()) {
    std::string pointer(key.pointer);
    if (const auto star = pointer.find('*'); star != pointer.npos)
      pointer.replace(star, 1, "probe");
    CHECK_MESSAGE(in_loader.insert(pointer).second, "twice in the table: " << pointer);
  }
  CHECK(in_schema == in_loader);
  CHECK(in_schema.size() == 32);
}

TEST_CASE("the schema's defaults are the loader's") {
  const auto effective =
      to_json(loaded(R"({"plugins": {"overrides": {"probe": {"enabled": true}}}})"));
  std::size_t with_default = 0;
  for (const SchemaKey& key : schema_keys()) {
    INFO(key.pointer);
    const nlohmann::ordered_json::json_pointer at(key.pointer);
    REQUIRE(key.schema.contains("default") == effective.contains(at));
    if (!key.schema.contains("default")) continue;
    CHECK(Json::parse(effective.at(at).dump()) == key.schema.at("default"));
    ++with_default;
  }
  CHECK(with_default == 25);
}

TEST_CASE("defaults and examples of the schema load") {
  for (const SchemaKey& key : schema_keys()) {
    INFO(key.pointer);
    REQUIRE(key.schema.at("examples").size() == 1);
    CHECK(loads(key.pointer, key.schema.at("examples")[0]));
    if (key.schema.contains("default")) CHECK(loads(key.pointer, key.schema.at("default")));
    CHECK_FALSE(key.schema.at("description").get<std::string>().empty());
  }
}

TEST_CASE("the loader takes the schema's ranges to their ends and not one further") {
  std::size_t ranges = 0;
  for (const SchemaKey& key : schema_keys()) {
    INFO(key.pointer);
    if (key.schema.contains("minimum")) {
      const auto min = key.schema.at("minimum").get<std::int64_t>(),
                 max = key.schema.at("maximum").get<std::int64_t>();
      CHECK(loads(key.pointer, min));
      CHECK(loads(key.pointer, max));
      CHECK_FALSE(loads(key.pointer, min - 1));
      CHECK_FALSE(loads(key.pointer, max + 1));
      ++ranges;
    }
    if (key.schema.contains("items")) {
      const Json& items = key.schema.at("items");
      const auto min = items.at("minimum").get<std::int64_t>(),
                 max = items.at("maximum").get<std::int64_t>();
      CHECK(loads(key.pointer, Json::array({min, max})));
      CHECK_FALSE(loads(key.pointer, Json::array({min - 1, max})));
      CHECK_FALSE(loads(key.pointer, Json::array({min, max + 1})));
      CHECK_FALSE(loads(key.pointer, Json::array({min})));
      CHECK_FALSE(loads(key.pointer, Json::array({min, max, max})));
      ++ranges;
    }
    if (key.schema.contains("maxLength") && !key.schema.contains("enum")) {
      const auto longest = key.schema.at("maxLength").get<std::size_t>();
      CHECK(loads(key.pointer, std::string(longest, 'p')));
      CHECK_FALSE(loads(key.pointer, std::string(longest + 1, 'p')));
      CHECK_FALSE(loads(key.pointer, ""));
      ++ranges;
    }
  }
  CHECK(ranges == 19);
}

TEST_CASE("the loader takes exactly the schema's choices") {
  std::size_t choices = 0;
  for (const SchemaKey& key : schema_keys()) {
    if (!key.schema.contains("enum")) continue;
    INFO(key.pointer);
    for (const Json& value : key.schema.at("enum")) CHECK(loads(key.pointer, value));
    CHECK_FALSE(loads(key.pointer, "something else"));
    CHECK_FALSE(loads(key.pointer, 17));
    const Json& last = key.schema.at("enum").back();
    if (last.is_number()) CHECK_FALSE(loads(key.pointer, last.get<int>() * 2));
    ++choices;
  }
  CHECK(choices == 7);
}

TEST_CASE("the loader takes no type that the schema does not") {
  const std::vector<std::pair<std::string, Json>> samples = {
      {"null", nullptr},     {"boolean", true},    {"integer", 1},
      {"number", 1.5},       {"string", "sample"}, {"array", Json::array({true})},
      {"object", {{"k", 1}}}};
  for (const SchemaKey& key : schema_keys()) {
    const std::set<std::string> allowed = types_of(key.schema);
    for (const auto& [type, sample] : samples) {
      INFO(key.pointer << " " << type);
      if (allowed.contains(type)) continue;
      CHECK_FALSE(loads(key.pointer, sample));
    }
  }
}

TEST_CASE("schema and loader refuse both spellings of the timeslice") {
  CHECK(published_schema().at("/properties/runtime/not/required"_json_pointer) ==
        Json::array({"timeslice_cycles", "timeslice_us"}));
  CHECK(errors_of(R"({"runtime": {"timeslice_cycles": 300000, "timeslice_us": 100}})").size() == 1);
}

TEST_CASE("the installed config is the defaults, with crashy off, echo and http on their ports") {
  const ScopedEnv no_state("STATE_DIRECTORY", nullptr);
  const auto config = load_config(kConfigDirectory / "smarmd.json");
  REQUIRE_MESSAGE(config.has_value(), all_texts(config.error()));
  CHECK_FALSE(config->policy_for("crashy").enabled);
  CHECK(config->policy_for("echo").config == R"({"listen":"127.0.0.1:7777"})");
  CHECK(config->policy_for("http").config == R"({"listen":"127.0.0.1:8080"})");
  Config without = *config;
  without.plugins.overrides.clear();
  CHECK(without == Config{});
}

TEST_CASE("every JSON example of the README loads") {
  const std::string text = read_file(kConfigDirectory / "README.md");
  std::size_t examples = 0;
  static constexpr std::string_view kFence = "```json\n";
  for (auto at = text.find(kFence); at != text.npos; at = text.find(kFence, at + 1)) {
    const auto from = at + kFence.size();
    const ConfigFiles files(text.substr(from, text.find("```", from) - from));
    const auto config = files.load();
    CHECK_MESSAGE(config.has_value(), all_texts(config.error()));
    ++examples;
  }
  CHECK(examples == 3);
}

TEST_SUITE_END();
