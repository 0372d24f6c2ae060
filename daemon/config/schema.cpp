#include "daemon/config/schema.hpp"

namespace smarmd::configuration {

namespace {

using Ordered = nlohmann::ordered_json;

Ordered closed_object() {
  return {{"type", "object"}, {"additionalProperties", false}, {"properties", Ordered::object()}};
}

// The schema object of a section; made on the way when it is not there yet.
Ordered& section_at(Ordered& root, std::string_view pointer) {
  Ordered* at = &root;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    const std::string token(pointer.substr(0, pointer.find('/')));
    pointer.remove_prefix(token.size());
    Ordered& holder = token == "*" ? *at : (*at)["properties"];
    Ordered& child = holder[token == "*" ? "additionalProperties" : token];
    if (!child.is_object()) child = closed_object();
    at = &child;
  }
  return *at;
}

// The word of the table, and the sentence of the schema.
struct When {
  const char* word;
  const char* sentence;
};

When when_of(const Key& key) {
  if (key.name() == "$schema") return {"never", ""};
  if (key.applies == Applies::live) return {"live", " Takes effect by a reload."};
  return {"restart", " Needs a restart."};
}

Ordered key_schema(const Key& key) {
  Ordered out = schema_of(key.shape);
  out["description"] = std::string(key.meaning) + when_of(key).sentence;
  if (const auto value = default_of(key)) out["default"] = *value;
  out["examples"] = Ordered::array({Ordered::parse(key.example)});
  return out;
}

std::string code(std::string_view text) { return "`" + std::string(text) + "`"; }

}  // namespace

nlohmann::ordered_json schema() {
  Ordered root = {
      {"$schema", "https://json-schema.org/draft/2020-12/schema"},
      {"title", "smarmd configuration"},
      {"description",
       "smarmd.json and the fragments in conf.d/. Every key has a default, so {} is a config."}};
  root.update(closed_object());
  for (const Key& key : keys())
    section_at(root, key.section())["properties"][std::string(key.name())] = key_schema(key);
  Ordered& overrides = section_at(root, kOverrides);
  overrides["description"] =
      "What differs for single plugins, by name. A plugin that is not present is legal.";
  overrides.erase("properties");  // no name is known beforehand
  overrides["propertyNames"] = {{"pattern", kPluginNamePattern}};
  section_at(root, "/runtime")["not"] = {
      {"required", Ordered::array({"timeslice_cycles", "timeslice_us"})}};
  return root;
}

std::string schema_text() { return schema().dump(2) + "\n"; }

std::string documentation_row(const Key& key) {
  const auto value = default_of(key);
  const std::string fallback = value ? code(value->dump()) : std::string(key.absent);
  std::string pointer(key.pointer);
  if (const auto star = pointer.find('*'); star != pointer.npos) pointer.replace(star, 1, "NAME");
  return "| " + code(pointer) + " | " + type_text(key.shape) + " | " + range_text(key.shape) +
         " | " + fallback + " | " + when_of(key).word + " | " + std::string(key.meaning) + " | " +
         code(key.example) + " |";
}

std::string documentation_table() {
  std::string out =
      "| key | type | range | default | applies | meaning | example "
      "|\n|---|---|---|---|---|---|---|\n";
  for (const Key& key : keys()) out += documentation_row(key) + "\n";
  return out;
}

}  // namespace smarmd::configuration
