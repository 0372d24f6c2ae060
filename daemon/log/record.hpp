// One log record: what happened (event), in words (text), and the facts as key/value fields.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/log/late_text.hpp"
#include "daemon/log/level.hpp"

namespace smarmd {

using FieldValue = std::variant<std::string, std::int64_t, std::uint64_t, double, bool, LateText>;

// A key is lower case letters, digits and `_`; it becomes a JSON key and, in upper case after
// SMARMD_, a journal field.
struct Field {
  std::string key;
  FieldValue value;

  Field(std::string k, std::string v) : key(std::move(k)), value(std::move(v)) {}
  Field(std::string k, std::string_view v) : key(std::move(k)), value(std::string(v)) {}
  Field(std::string k, const char* v) : key(std::move(k)), value(std::string(v)) {}
  Field(std::string k, LateText v) : key(std::move(k)), value(std::move(v)) {}
  Field(std::string k, bool v) : key(std::move(k)), value(v) {}
  Field(std::string k, std::floating_point auto v)
      : key(std::move(k)), value(static_cast<double>(v)) {}
  template <std::integral I>
    requires(!std::same_as<I, bool>)
  Field(std::string k, I v) : key(std::move(k)) {
    if constexpr (std::is_signed_v<I>) {
      value = static_cast<std::int64_t>(v);
    } else {
      value = static_cast<std::uint64_t>(v);
    }
  }
};

// Fields{{"plugin", "echo"}, {"restarts", 3}}
using Fields = std::vector<Field>;

struct Record {
  Record* next = nullptr;  // the link of MpscList
  std::chrono::system_clock::time_point time;
  Level level = Level::info;
  std::string event;
  std::string text;
  Fields fields;

  // Roughly what the record occupies.
  std::size_t bytes() const {
    std::size_t total = sizeof(Record) + event.size() + text.size();
    for (const Field& field : fields) {
      total += sizeof(Field) + field.key.size();
      if (const auto* text_value = std::get_if<std::string>(&field.value))
        total += text_value->size();
    }
    return total;
  }
};

}  // namespace smarmd
