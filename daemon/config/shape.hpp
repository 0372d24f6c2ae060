// The kinds of values that a config key can have. For each kind: is a value right, what does the
// schema say, what does the documentation say.
#pragma once

#include "daemon/config/document.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace smarmd::configuration {

struct Boolean {};
struct Integer {
  std::uint64_t min, max;
};
struct PowerOfTwo {
  std::uint64_t min, max;
};
struct Choice {
  std::span<const std::string_view> names;
};
struct Path {
  std::size_t max_bytes;
};
struct PathList {};    // one path, or a list of at least one without repetitions
struct Listen {};      // see parse_listen; "" or null: off
struct BackoffRange {  // [min, max] in milliseconds
  std::uint64_t max;
};
struct AnyObject {};
struct Text {};

using Shape = std::variant<Boolean, Integer, PowerOfTwo, Choice, Path, PathList, Listen,
                           BackoffRange, AnyObject, Text>;

struct Complaint {
  std::string pointer;  // below the value: "" or "/1"
  std::string message, hint;
};

inline constexpr std::size_t kMaxPathBytes = 4095;   // PATH_MAX without its zero
inline constexpr std::size_t kMaxSocketBytes = 107;  // sun_path of sockaddr_un without its zero
inline constexpr std::size_t kMaxPluginName = 63;    // as in SMARM_PLUGIN

std::vector<Complaint> check(const Shape& shape, const Json& value);
nlohmann::ordered_json schema_of(const Shape& shape);
std::string type_text(const Shape& shape);   // "integer"
std::string range_text(const Shape& shape);  // "0 to 1024"; empty when the type says all

// A JSON Schema integer: 5, and also 5.0.
bool is_integer(const Json& value);
std::uint64_t to_unsigned(const Json& value);  // of an integer that is not negative

// "expected integer, got string \"four\""
std::string type_mismatch(std::string_view expected, const Json& got);

// Letters, digits, `-` and `_`, 1 to kMaxPluginName.
bool is_plugin_name(std::string_view name);
inline constexpr std::string_view kPluginNamePattern = "^[A-Za-z0-9_-]{1,63}$";

}  // namespace smarmd::configuration
