// The table of all keys: the one place that says what exists. The loader, the schema, the
// documentation's rows, to_json and diff read it.
#pragma once

#include "daemon/config/shape.hpp"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace smarmd::configuration {

// Stands in a key's pointer for the name of a plugin.
inline constexpr std::string_view kOverrides = "/plugins/overrides";
inline constexpr std::string_view kOverridePrefix = "/plugins/overrides/*/";

enum class Applies { live, restart };

struct Key {
  std::string_view pointer;
  Shape shape;
  Applies applies;
  std::string_view meaning;  // one line of Markdown
  std::string_view example;  // JSON text
  std::string_view absent;   // what holds when the key is not written and has no default of its own

  // Nothing when the key is not set. `plugin` is used by keys of an override only.
  std::optional<Json> (*get)(const Config&, const std::string& plugin);
  // `value` has passed check().
  void (*set)(Config&, const std::string& plugin, const Json& value);

  bool of_override() const { return pointer.starts_with(kOverridePrefix); }
  std::string_view name() const { return pointer.substr(pointer.rfind('/') + 1); }
  std::string_view section() const { return pointer.substr(0, pointer.rfind('/')); }
};

std::span<const Key> keys();
const Key* find_key(std::string_view pattern);
bool is_section(
    std::string_view pattern);  // an object that holds keys: "", "/runtime", "/plugins/overrides/*"

// What Config{} says about the key; nothing for a key without a default of its own.
std::optional<Json> default_of(const Key& key);

// Two keys for one setting: an error in one file; the later file wins.
inline constexpr std::string_view kTimesliceCycles = "/runtime/timeslice_cycles";
inline constexpr std::string_view kTimesliceUs = "/runtime/timeslice_us";

}  // namespace smarmd::configuration
