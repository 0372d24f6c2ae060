#include "daemon/config/shape.hpp"

#include "daemon/config/suggest.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

namespace smarmd::configuration {

namespace {

using Complaints = std::vector<Complaint>;
using Ordered = nlohmann::ordered_json;

template <class... F>
struct Cases : F... {
  using F::operator()...;
};

constexpr std::string_view kPathPattern = "^[^\\u0000]+$";

// An IPv4 address, an IPv6 address in brackets (roughly: the loader looks closer) or localhost, and
// a port up to 65535.
constexpr std::string_view kListenPattern =
    "^$|^(((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(\\.(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?"
    "[0-9])){3})"
    "|\\[[0-9A-Fa-f:.]+\\]|localhost)"
    ":(0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$";

// The value as a short piece of JSON.
std::string shown(const Json& value) {
  constexpr std::size_t kLongest = 40;
  std::string text = value.dump(-1, ' ', true);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

std::string join(std::span<const std::string_view> names, std::string_view separator) {
  std::string out;
  for (const std::string_view name : names) {
    if (!out.empty()) out += separator;
    out += name;
  }
  return out;
}

std::string span_text(std::uint64_t min, std::uint64_t max) {
  return std::to_string(min) + " to " + std::to_string(max);
}

std::string out_of_range(const Json& value, std::uint64_t min, std::uint64_t max) {
  return shown(value) + " is out of range, expected " + span_text(min, max);
}

bool in_range(const Json& value, std::uint64_t min, std::uint64_t max) {
  if (value.is_number_integer() && !value.is_number_unsigned() && value.get<std::int64_t>() < 0)
    return false;
  if (value.is_number_float() &&
      (value.get<double>() < 0 || value.get<double>() > static_cast<double>(max)))
    return false;
  return to_unsigned(value) >= min && to_unsigned(value) <= max;
}

Complaints mismatch(std::string_view expected, const Json& value, std::string hint = {}) {
  return {{"", type_mismatch(expected, value), std::move(hint)}};
}

Complaints check_integer(const Json& value, std::uint64_t min, std::uint64_t max) {
  if (!is_integer(value)) {
    const bool quoted =
        value.is_string() && !value.get_ref<const std::string&>().empty() &&
        value.get_ref<const std::string&>().find_first_not_of("0123456789") == std::string::npos;
    return mismatch("integer", value,
                    quoted ? "write " + value.get<std::string>() + " without quotes" : "");
  }
  if (!in_range(value, min, max)) return {{"", out_of_range(value, min, max), ""}};
  return {};
}

Complaints check_power_of_two(const Json& value, PowerOfTwo range) {
  Complaints found = check_integer(value, range.min, range.max);
  if (!found.empty() || std::has_single_bit(to_unsigned(value))) return found;
  const std::uint64_t below = std::bit_floor(to_unsigned(value));
  return {{"", shown(value) + " is not a power of two",
           "take " + std::to_string(below) + " or " + std::to_string(below * 2)}};
}

Complaints check_choice(const Json& value, Choice choice) {
  const std::string all = "one of: " + join(choice.names, ", ");
  if (!value.is_string()) return mismatch("string", value, all);
  const std::string& text = value.get_ref<const std::string&>();
  if (std::find(choice.names.begin(), choice.names.end(), text) != choice.names.end()) return {};
  const std::vector<std::string> names(choice.names.begin(), choice.names.end());
  const auto near = nearest(text, names);
  return {{"", shown(value) + " is not " + all, near ? "did you mean \"" + *near + "\"?" : ""}};
}

Complaints check_path(const Json& value, std::size_t max_bytes,
                      std::string_view expected = "string") {
  if (!value.is_string()) return mismatch(expected, value);
  const std::string& text = value.get_ref<const std::string&>();
  if (text.empty())
    return {{"", "the path is empty", "write a path, or leave the key out to take the default"}};
  if (text.find('\0') != std::string::npos)
    return {{"", "the path contains a zero character", "remove it"}};
  if (text.size() > max_bytes) {
    return {{"",
             "the path has " + std::to_string(text.size()) + " bytes, expected at most " +
                 std::to_string(max_bytes),
             ""}};
  }
  return {};
}

Complaints check_path_list(const Json& value) {
  if (!value.is_array()) return check_path(value, kMaxPathBytes, "string or array");
  if (value.empty()) return {{"", "the list is empty", "name at least one directory"}};
  Complaints found;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string pointer = "/" + std::to_string(i);
    for (Complaint& c : check_path(value[i], kMaxPathBytes)) {
      found.push_back({pointer + c.pointer, std::move(c.message), std::move(c.hint)});
    }
    if (value[i].is_string() && !seen.insert(value[i].get<std::string>()).second) {
      found.push_back({pointer, shown(value[i]) + " stands twice in the list", "keep one of them"});
    }
  }
  return found;
}

Complaints check_listen(const Json& value) {
  if (value.is_null()) return {};
  if (!value.is_string()) return mismatch("string or null", value, "\"\" or null turns it off");
  const std::string& text = value.get_ref<const std::string&>();
  if (text.empty() || parse_listen(text)) return {};
  return {{"", shown(value) + " is not ADDRESS:PORT",
           "write it as \"127.0.0.1:9464\" or \"[::1]:9464\"; \"\" turns it off"}};
}

Complaints check_backoff(const Json& value, BackoffRange range) {
  const std::string hint = "write it as [min, max] in milliseconds";
  if (!value.is_array()) return mismatch("array", value, hint);
  if (value.size() != 2)
    return {{"", "expected 2 elements, got " + std::to_string(value.size()), hint}};
  Complaints found;
  for (std::size_t i = 0; i < 2; ++i) {
    for (Complaint& c : check_integer(value[i], 0, range.max)) {
      found.push_back({"/" + std::to_string(i), std::move(c.message), std::move(c.hint)});
    }
  }
  if (found.empty() && to_unsigned(value[0]) > to_unsigned(value[1])) {
    found.push_back(
        {"", "the minimum " + shown(value[0]) + " is above the maximum " + shown(value[1]), hint});
  }
  return found;
}

Ordered integer_schema(std::uint64_t min, std::uint64_t max) {
  return {{"type", "integer"}, {"minimum", min}, {"maximum", max}};
}

Ordered path_schema(std::size_t max_bytes) {
  return {
      {"type", "string"}, {"minLength", 1}, {"maxLength", max_bytes}, {"pattern", kPathPattern}};
}

Ordered powers_schema(PowerOfTwo range) {
  Ordered values = Ordered::array();
  for (std::uint64_t n = range.min; n <= range.max; n *= 2) values.push_back(n);
  return {{"type", "integer"}, {"enum", values}};
}

Ordered path_list_schema() {
  const Ordered list = {{"type", "array"},
                        {"items", path_schema(kMaxPathBytes)},
                        {"minItems", 1},
                        {"uniqueItems", true}};
  return {{"oneOf", Ordered::array({path_schema(kMaxPathBytes), list})}};
}

}  // namespace

bool is_integer(const Json& value) {
  if (value.is_number_integer()) return true;
  return value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>();
}

std::uint64_t to_unsigned(const Json& value) {
  if (!value.is_number_float()) return value.get<std::uint64_t>();
  return static_cast<std::uint64_t>(value.get<double>());
}

std::string type_mismatch(std::string_view expected, const Json& got) {
  std::string text = "expected " + std::string(expected) + ", got ";
  if (got.is_null()) return text + "null";
  text += got.is_number() && is_integer(got) ? "integer" : got.type_name();
  return text + " " + shown(got);
}

bool is_plugin_name(std::string_view name) {
  const auto legal = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  };
  return !name.empty() && name.size() <= kMaxPluginName &&
         std::all_of(name.begin(), name.end(), legal);
}

std::vector<Complaint> check(const Shape& shape, const Json& value) {
  return std::visit(
      Cases{[&](Boolean) {
              return value.is_boolean()
                         ? Complaints{}
                         : mismatch("boolean", value, "write true or false, without quotes");
            },
            [&](Integer range) { return check_integer(value, range.min, range.max); },
            [&](PowerOfTwo range) { return check_power_of_two(value, range); },
            [&](Choice choice) { return check_choice(value, choice); },
            [&](Path path) { return check_path(value, path.max_bytes); },
            [&](PathList) { return check_path_list(value); },
            [&](Listen) { return check_listen(value); },
            [&](BackoffRange range) { return check_backoff(value, range); },
            [&](AnyObject) { return value.is_object() ? Complaints{} : mismatch("object", value); },
            [&](Text) { return value.is_string() ? Complaints{} : mismatch("string", value); }},
      shape);
}

nlohmann::ordered_json schema_of(const Shape& shape) {
  return std::visit(
      Cases{[](Boolean) -> Ordered { return {{"type", "boolean"}}; },
            [](Integer range) { return integer_schema(range.min, range.max); },
            [](PowerOfTwo range) { return powers_schema(range); },
            [](Choice choice) -> Ordered { return {{"type", "string"}, {"enum", choice.names}}; },
            [](Path path) { return path_schema(path.max_bytes); },
            [](PathList) { return path_list_schema(); },
            [](Listen) -> Ordered {
              return {{"type", Ordered::array({"string", "null"})}, {"pattern", kListenPattern}};
            },
            [](BackoffRange range) -> Ordered {
              return {{"type", "array"},
                      {"items", integer_schema(0, range.max)},
                      {"minItems", 2},
                      {"maxItems", 2}};
            },
            [](AnyObject) -> Ordered { return {{"type", "object"}}; },
            [](Text) -> Ordered { return {{"type", "string"}}; }},
      shape);
}

std::string type_text(const Shape& shape) {
  return std::visit(
      Cases{[](Boolean) { return "boolean"; }, [](Integer) { return "integer"; },
            [](PowerOfTwo) { return "integer"; }, [](Choice) { return "string"; },
            [](Path) { return "path"; }, [](PathList) { return "path or list of paths"; },
            [](Listen) { return "string or null"; },
            [](BackoffRange) { return "[integer, integer]"; }, [](AnyObject) { return "object"; },
            [](Text) { return "string"; }},
      shape);
}

std::string range_text(const Shape& shape) {
  return std::visit(
      Cases{[](Boolean) -> std::string { return "true, false"; },
            [](Integer range) { return span_text(range.min, range.max); },
            [](PowerOfTwo range) { return "power of two, " + span_text(range.min, range.max); },
            [](Choice choice) { return join(choice.names, ", "); },
            [](Path path) { return "1 to " + std::to_string(path.max_bytes) + " bytes"; },
            [](PathList) -> std::string { return "at least one, none twice"; },
            [](Listen) -> std::string { return "ADDRESS:PORT; \"\" or null: off"; },
            [](BackoffRange range) {
              return "[min, max], each " + span_text(0, range.max) + ", min <= max";
            },
            [](AnyObject) -> std::string { return "any object"; },
            [](Text) -> std::string { return "any"; }},
      shape);
}

}  // namespace smarmd::configuration
