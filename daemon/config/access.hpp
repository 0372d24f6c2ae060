// How one key's value goes from Config to JSON and back. Only keys.cpp includes this.
//
// `get` gives nothing when the key is not set; `set` takes values that have passed check() and
// never fails.
#pragma once

#include "daemon/config/shape.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace smarmd::configuration::access {

// ---- names of enumerators: the position of a name is the enumerator's value ----

inline constexpr std::array<std::string_view, 2> kIoBackends = {"epoll", "io_uring"};
inline constexpr std::array<std::string_view, 6> kLogLevels = {"trace", "debug", "info",
                                                               "warn",  "error", "critical"};
inline constexpr std::array<std::string_view, 3> kOnFaults = {"panic_safe", "panic", "abort"};
inline constexpr std::array<std::string_view, 4> kLogFormats = {"auto", "text", "json", "journald"};
inline constexpr std::array<std::string_view, 3> kRestartTypes = {"permanent", "transient",
                                                                  "temporary"};

constexpr std::span<const std::string_view> names_of(smarm::IoBackend) { return kIoBackends; }
constexpr std::span<const std::string_view> names_of(smarm::LogLevel) { return kLogLevels; }
constexpr std::span<const std::string_view> names_of(OnFault) { return kOnFaults; }
constexpr std::span<const std::string_view> names_of(LogFormat) { return kLogFormats; }
constexpr std::span<const std::string_view> names_of(RestartType) { return kRestartTypes; }

static_assert(kIoBackends[static_cast<int>(smarm::IoBackend::io_uring)] == "io_uring");
static_assert(kLogLevels[static_cast<int>(smarm::LogLevel::critical)] == "critical");
static_assert(kOnFaults[static_cast<int>(OnFault::abort)] == "abort");
static_assert(kLogFormats[static_cast<int>(LogFormat::journald)] == "journald");
static_assert(kRestartTypes[static_cast<int>(RestartType::temporary)] == "temporary");

template <class E>
std::string_view enumerator_name(E value) {
  return names_of(value)[static_cast<std::size_t>(value)];
}

// ---- one value ----

inline Json encode(bool v) { return v; }
inline Json encode(std::uint32_t v) { return v; }
inline Json encode(std::uint64_t v) { return v; }
inline Json encode(const std::string& v) { return v; }
inline Json encode(const std::filesystem::path& v) { return v.string(); }
inline Json encode(const Backoff& v) { return Json::array({v.min_ms, v.max_ms}); }
inline Json encode(const std::vector<std::filesystem::path>& v) {
  if (v.size() == 1) return encode(v.front());
  Json list = Json::array();
  for (const auto& path : v) list.push_back(encode(path));
  return list;
}
template <class E>
  requires std::is_enum_v<E>
Json encode(E v) {
  return enumerator_name(v);
}

inline void decode(const Json& j, bool& v) { v = j.get<bool>(); }
inline void decode(const Json& j, std::uint32_t& v) {
  v = static_cast<std::uint32_t>(to_unsigned(j));
}
inline void decode(const Json& j, std::uint64_t& v) { v = to_unsigned(j); }
inline void decode(const Json& j, std::string& v) {
  v = j.is_null() ? std::string() : j.get<std::string>();
}
inline void decode(const Json& j, std::filesystem::path& v) { v = j.get<std::string>(); }
inline void decode(const Json& j, Backoff& v) {
  decode(j[0], v.min_ms);
  decode(j[1], v.max_ms);
}
inline void decode(const Json& j, std::vector<std::filesystem::path>& v) {
  v.clear();
  if (j.is_string()) {
    v.emplace_back(j.get<std::string>());
    return;
  }
  for (const Json& path : j) v.emplace_back(path.get<std::string>());
}
template <class E>
  requires std::is_enum_v<E>
void decode(const Json& j, E& v) {
  const auto names = names_of(E{});
  v = static_cast<E>(std::find(names.begin(), names.end(), j.get<std::string>()) - names.begin());
}

template <class T>
std::optional<Json> read(const T& v) {
  return encode(v);
}
template <class T>
std::optional<Json> read(const std::optional<T>& v) {
  return v ? std::optional<Json>(encode(*v)) : std::nullopt;
}
template <class T>
void write(const Json& j, T& v) {
  decode(j, v);
}
template <class T>
void write(const Json& j, std::optional<T>& v) {
  decode(j, v.emplace());
}

// ---- a key's place in Config: a chain of member pointers ----

template <auto... Member>
std::optional<Json> get(const Config& c, const std::string&) {
  return read((c.*....*Member));
}
template <auto... Member>
void set(Config& c, const std::string&, const Json& value) {
  write(value, (c.*....*Member));
}

inline const PluginOverride& override_of(const Config& c, const std::string& plugin) {
  static const PluginOverride kNone;
  const auto found = c.plugins.overrides.find(plugin);
  return found == c.plugins.overrides.end() ? kNone : found->second;
}
template <auto Member>
std::optional<Json> get_override(const Config& c, const std::string& plugin) {
  return read(override_of(c, plugin).*Member);
}
template <auto Member>
void set_override(Config& c, const std::string& plugin, const Json& value) {
  write(value, c.plugins.overrides[plugin].*Member);
}

inline std::optional<Json> get_plugin_config(const Config& c, const std::string& plugin) {
  return Json::parse(override_of(c, plugin).config, nullptr, false);
}
inline void set_plugin_config(Config& c, const std::string& plugin, const Json& value) {
  c.plugins.overrides[plugin].config = value.dump();
}

// timeslice_us stands for it when both could be shown.
inline std::optional<Json> get_cycles(const Config& c, const std::string&) {
  return c.runtime.timeslice_us ? std::nullopt : std::optional<Json>(c.runtime.timeslice_cycles);
}

inline std::optional<Json> get_nothing(const Config&, const std::string&) { return std::nullopt; }
inline void set_nothing(Config&, const std::string&, const Json&) {}

}  // namespace smarmd::configuration::access
