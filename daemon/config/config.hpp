// Config: what smarmd.json says, as plain values. Every struct holds the defaults, so Config{} is
// what `{}` means.
//
//   auto config = smarmd::load_config("/etc/smarmd/smarmd.json");
//   if (!config) for (const auto& e : config.error()) std::fprintf(stderr, "%s\n",
//   e.text().c_str());
//
// Values only: any thread may call any function on its own copy. Nothing here logs, parks or keeps
// a file open.
//
// Invariants of a Config that load_config returned:
//   1. every number lies in the range that config/README.md states; stack_kib is a power of two;
//   2. at most one of timeslice_cycles and timeslice_us was written; backoff.min_ms <=
//   backoff.max_ms;
//   3. metrics.listen is "" or parse_listen takes it; a plugin's `config` is the compact text of a
//   JSON object.
// The keys themselves (name, range, meaning, live or not) stand in keys.cpp; the loader, the
// schema, to_json and diff all read that table.
#pragma once

#include <smarm/config.hpp>
#include <smarm/plugin.hpp>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace smarmd {

using smarm::OnFault;
enum class LogFormat { automatic, text, json, journald };  // automatic is written "auto"
enum class RestartType { permanent, transient, temporary };

struct RuntimeConfig {
  std::uint32_t threads = 0;  // workers; 0: one per usable CPU
  std::uint64_t timeslice_cycles = 300'000;
  std::optional<std::uint64_t> timeslice_us;  // when set it stands for timeslice_cycles: convert
                                              // with the measured TSC frequency
  std::uint32_t alloc_interval = 128;
  std::uint32_t stack_kib = 64;
  smarm::IoBackend io_backend = smarm::IoBackend::epoll;
  std::uint32_t async_preempt_ms = 10;   // 0: off
  std::uint64_t mailbox_warn = 65'536;   // messages; 0: never
  std::uint32_t hibernate_after_ms = 0;  // 0: never
  std::uint32_t blocking_threads = 64;
  OnFault on_fault = OnFault::panic_safe;
  std::uint32_t shutdown_ms = 10'000;
  bool operator==(const RuntimeConfig&) const = default;
};

struct Backoff {
  std::uint32_t min_ms = 100, max_ms = 30'000;
  bool operator==(const Backoff&) const = default;
};

// plugins.defaults
struct PluginDefaults {
  RestartType restart = RestartType::permanent;
  std::uint32_t max_restarts = 5;  // 0: the first failure quarantines
  std::uint32_t window_s = 60;
  Backoff backoff;
  std::uint64_t mailbox_limit = 0;  // messages; 0: none
  bool operator==(const PluginDefaults&) const = default;
};

// plugins.overrides.NAME: what is empty comes from the defaults. Ask policy_for instead of reading
// this.
struct PluginOverride {
  bool enabled = true;
  std::optional<RestartType> restart;
  std::optional<std::uint32_t> max_restarts;
  std::optional<std::uint32_t> window_s;
  std::optional<Backoff> backoff;
  std::optional<std::uint64_t> mailbox_limit;
  std::string config = "{}";  // compact JSON text of an object
  bool operator==(const PluginOverride&) const = default;
};

// What holds for one plugin once override, the plugin's own wish and the defaults are put together.
struct PluginPolicy {
  bool enabled = true;
  RestartType restart = RestartType::permanent;
  std::uint32_t max_restarts = 5;
  std::uint32_t window_s = 60;
  Backoff backoff;
  std::uint64_t mailbox_limit = 0;
  std::string config = "{}";
  bool operator==(const PluginPolicy&) const = default;
};

struct PluginsConfig {
  std::vector<std::filesystem::path> directory = {
      "/usr/lib/smarmd/plugins"};  // searched in this order
  bool watch = true;
  std::filesystem::path state_directory = "/var/lib/smarmd";  // private image copies
  PluginDefaults defaults;
  std::map<std::string, PluginOverride, std::less<>>
      overrides;  // plugins that are not present are legal
  bool operator==(const PluginsConfig&) const = default;
};

struct LogConfig {
  smarm::LogLevel level = smarm::LogLevel::info;
  LogFormat format = LogFormat::automatic;
  bool operator==(const LogConfig&) const = default;
};

struct ControlConfig {
  std::filesystem::path socket = "/run/smarmd/control.sock";  // fits sockaddr_un
  bool operator==(const ControlConfig&) const = default;
};

struct MetricsConfig {
  std::string listen = "127.0.0.1:9464";  // "": off
  bool operator==(const MetricsConfig&) const = default;
};

struct Config {
  RuntimeConfig runtime;
  PluginsConfig plugins;
  LogConfig log;
  ControlConfig control;
  MetricsConfig metrics;

  // The override of `name` first, then `wish` (the plugin's descriptor, from its ELF note), then
  // plugins.defaults.
  PluginPolicy policy_for(std::string_view name,
                          smarm::plugin::Restart wish = smarm::plugin::Restart::by_config) const;

  bool operator==(const Config&) const = default;
};

// One thing that is wrong in one file.
struct ConfigError {
  std::string file;
  std::string pointer;  // RFC 6901; "" is the whole document
  std::string message;
  std::string hint;                  // what to do; may be empty
  std::size_t line = 0, column = 0;  // 1-based, in bytes; 0 when the error has no place in the text

  // "FILE:LINE:COLUMN: POINTER: MESSAGE (HINT)" without a newline.
  std::string text() const;
};

// Reads `path` and the conf.d/*.json beside it (merged over it in name order) and checks all of it.
// Reports every error, not only the first. Blocks on file reads. Reads STATE_DIRECTORY from the
// environment when plugins.state_directory is not written.
[[nodiscard]] std::expected<Config, std::vector<ConfigError>> load_config(
    const std::filesystem::path& path);

// The effective config, in the order of the documentation. It is a valid config file again.
nlohmann::ordered_json to_json(const Config& config);

// One key that differs. Compact JSON text; "" where the key is not written.
struct Change {
  std::string pointer;
  std::string before, after;
  bool operator==(const Change&) const = default;
};

struct ConfigDiff {
  std::vector<Change> live;           // takes effect by a reload
  std::vector<Change> needs_restart;  // does not
  bool empty() const { return live.empty() && needs_restart.empty(); }
};

ConfigDiff diff(const Config& before, const Config& after);

// "127.0.0.1:9464", "[::1]:9464", "localhost:0" -> a numeric address without brackets, and a port
// (0: the kernel picks one).
struct ListenAddress {
  std::string host;
  std::uint16_t port = 0;
  bool ipv6 = false;
  bool operator==(const ListenAddress&) const = default;
};
std::optional<ListenAddress> parse_listen(std::string_view text);

// The names that the config file uses, for log lines and status output.
std::string_view name_of(smarm::IoBackend);
std::string_view name_of(smarm::LogLevel);
std::string_view name_of(OnFault);
std::string_view name_of(LogFormat);
std::string_view name_of(RestartType);

}  // namespace smarmd
