#include "daemon/config/keys.hpp"

#include "daemon/config/access.hpp"

#include <algorithm>
#include <vector>

namespace smarmd::configuration {

namespace {

using namespace access;

constexpr auto kLive = Applies::live;
constexpr auto kRestart = Applies::restart;
constexpr std::uint64_t kHourMs = 3'600'000, kDayMs = 24 * kHourMs;
constexpr std::uint64_t kManyMessages = 1'000'000'000'000;
constexpr std::string_view kAsDefaults = "as in `plugins.defaults`";

template <auto Field>
constexpr auto get_runtime = &get<&Config::runtime, Field>;
template <auto Field>
constexpr auto set_runtime = &set<&Config::runtime, Field>;
template <auto Field>
constexpr auto get_plugins = &get<&Config::plugins, Field>;
template <auto Field>
constexpr auto set_plugins = &set<&Config::plugins, Field>;
template <auto Field>
constexpr auto get_default = &get<&Config::plugins, &PluginsConfig::defaults, Field>;
template <auto Field>
constexpr auto set_default = &set<&Config::plugins, &PluginsConfig::defaults, Field>;

using R = RuntimeConfig;

const std::vector<Key>& table() {
  static const std::vector<Key> kTable = {
      {"/$schema", Text{}, kLive, "Where an editor finds the JSON Schema. The daemon ignores it.",
       "\"./smarmd.schema.json\"", "none", &get_nothing, &set_nothing},

      {"/runtime/threads", Integer{0, 1024}, kRestart,
       "OS threads that run actors. 0: one per usable CPU (affinity mask and cgroup quota).", "4",
       "", get_runtime<&R::threads>, set_runtime<&R::threads>},
      {kTimesliceCycles, Integer{1'000, 1'000'000'000'000}, kLive,
       "How long an actor may run before it yields, in cycles of the time-stamp counter.", "300000",
       "", &get_cycles, set_runtime<&R::timeslice_cycles>},
      {kTimesliceUs, Integer{1, 100'000'000}, kLive,
       "The same in microseconds, instead of `timeslice_cycles`. The daemon measures the counter "
       "and converts.",
       "100", "`timeslice_cycles` holds", get_runtime<&R::timeslice_us>,
       set_runtime<&R::timeslice_us>},
      {"/runtime/alloc_interval", Integer{1, 1'000'000}, kLive,
       "Every so many allocations an actor looks at the clock. Smaller: preempts sooner, costs "
       "more.",
       "128", "", get_runtime<&R::alloc_interval>, set_runtime<&R::alloc_interval>},
      {"/runtime/stack_kib", PowerOfTwo{16, 65'536}, kRestart,
       "KiB of address space for an actor's stack, its guard (a quarter) included. Memory is used "
       "as the stack grows.",
       "256", "", get_runtime<&R::stack_kib>, set_runtime<&R::stack_kib>},
      {"/runtime/io_backend", Choice{kIoBackends}, kRestart,
       "How workers wait for file descriptors, and read and write files. io_uring is cheaper with "
       "one worker and dearer with several. Where the machine has none (Linux 5.19), or forbids "
       "it, the daemon says why and uses epoll.",
       "\"io_uring\"", "", get_runtime<&R::io_backend>, set_runtime<&R::io_backend>},
      {"/runtime/async_preempt_ms", Integer{0, 10'000}, kLive,
       "How long an actor may loop without allocating before a signal preempts it. 0: off.", "10",
       "", get_runtime<&R::async_preempt_ms>, set_runtime<&R::async_preempt_ms>},
      {"/runtime/hibernate_after_ms", Integer{0, kDayMs}, kRestart,
       "How long an actor is parked before its stack is packed away. 0: never.", "60000", "",
       get_runtime<&R::hibernate_after_ms>, set_runtime<&R::hibernate_after_ms>},
      {"/runtime/mailbox_warn", Integer{0, kManyMessages}, kLive,
       "A mailbox of so many messages is logged, and again at each doubling. The daemon looks once "
       "per 512 messages. 0: never.",
       "1000000", "", get_runtime<&R::mailbox_warn>, set_runtime<&R::mailbox_warn>},
      {"/runtime/blocking_threads", Integer{1, 4'096}, kRestart,
       "The most threads that `block_on_io` may use at once. Plugins take turns, and the last "
       "eighth of the threads is for those that use none.",
       "64", "", get_runtime<&R::blocking_threads>, set_runtime<&R::blocking_threads>},
      {"/runtime/on_fault", Choice{kOnFaults}, kRestart,
       "What a fault in plugin code does. `panic_safe`: null pointers, arithmetic, illegal "
       "instructions and abort() panic the actor, a wild address ends "
       "the daemon. `panic`: all of them panic. `abort`: all of them end the daemon. A stack "
       "overflow panics in any case.",
       "\"panic\"", "", get_runtime<&R::on_fault>, set_runtime<&R::on_fault>},
      {"/runtime/shutdown_ms", Integer{0, kHourMs}, kRestart,
       "How long all plugins together may take to stop; then actors are unwound. 0: unwind at "
       "once. Keep systemd's TimeoutStopSec above it.",
       "10000", "", get_runtime<&R::shutdown_ms>, set_runtime<&R::shutdown_ms>},

      {"/plugins/directory", PathList{}, kRestart,
       "Where plugins (`*.so`) lie, searched in this order. One that does not exist is watched "
       "until it appears. Relative paths count from the daemon's "
       "working directory.",
       "[\"/usr/lib/smarmd/plugins\", \"/usr/local/lib/smarmd/plugins\"]", "",
       get_plugins<&PluginsConfig::directory>, set_plugins<&PluginsConfig::directory>},
      {"/plugins/watch", Boolean{}, kRestart,
       "Act on new, replaced and removed files while the daemon runs.", "false", "",
       get_plugins<&PluginsConfig::watch>, set_plugins<&PluginsConfig::watch>},
      {"/plugins/state_directory", Path{kMaxPathBytes}, kRestart,
       "Where private copies of plugin images are kept. Not on a noexec mount. When it is not "
       "written, systemd's STATE_DIRECTORY comes before the default.",
       "\"/var/lib/smarmd\"", "", get_plugins<&PluginsConfig::state_directory>,
       set_plugins<&PluginsConfig::state_directory>},

      {"/plugins/defaults/restart", Choice{kRestartTypes}, kLive,
       "When a plugin that ended is started again. `permanent`: always. `transient`: when it "
       "failed. `temporary`: never. A wish in the plugin's own "
       "descriptor comes before this.",
       "\"transient\"", "", get_default<&PluginDefaults::restart>,
       set_default<&PluginDefaults::restart>},
      {"/plugins/defaults/max_restarts", Integer{0, 10'000}, kLive,
       "Restarts within the window before the plugin is quarantined. 0: the first failure does.",
       "5", "", get_default<&PluginDefaults::max_restarts>,
       set_default<&PluginDefaults::max_restarts>},
      {"/plugins/defaults/window_s", Integer{1, 86'400}, kLive,
       "The sliding window of `max_restarts`, in seconds.", "60", "",
       get_default<&PluginDefaults::window_s>, set_default<&PluginDefaults::window_s>},
      {"/plugins/defaults/backoff_ms", BackoffRange{kHourMs}, kLive,
       "The wait before a restart: the first, and the longest that it grows to.", "[100, 30000]",
       "", get_default<&PluginDefaults::backoff>, set_default<&PluginDefaults::backoff>},
      {"/plugins/defaults/mailbox_limit", Integer{0, kManyMessages}, kLive,
       "A mailbox of the plugin's actors that holds so many messages refuses more: `send` fails. "
       "Less than 1024 counts as 1024; several senders at once may exceed it by some thousands. "
       "0: no limit. Channels of supervision signals have none.",
       "1000000", "", get_default<&PluginDefaults::mailbox_limit>,
       set_default<&PluginDefaults::mailbox_limit>},

      {"/plugins/overrides/*/enabled", Boolean{}, kLive, "Whether the plugin runs.", "false", "",
       &get_override<&PluginOverride::enabled>, &set_override<&PluginOverride::enabled>},
      {"/plugins/overrides/*/restart", Choice{kRestartTypes}, kLive,
       "As in `plugins.defaults`, for this plugin; also comes before the plugin's own wish.",
       "\"temporary\"", "the plugin's own wish, else as in `plugins.defaults`",
       &get_override<&PluginOverride::restart>, &set_override<&PluginOverride::restart>},
      {"/plugins/overrides/*/max_restarts", Integer{0, 10'000}, kLive,
       "As in `plugins.defaults`, for this plugin.", "3", kAsDefaults,
       &get_override<&PluginOverride::max_restarts>, &set_override<&PluginOverride::max_restarts>},
      {"/plugins/overrides/*/window_s", Integer{1, 86'400}, kLive,
       "As in `plugins.defaults`, for this plugin.", "30", kAsDefaults,
       &get_override<&PluginOverride::window_s>, &set_override<&PluginOverride::window_s>},
      {"/plugins/overrides/*/backoff_ms", BackoffRange{kHourMs}, kLive,
       "As in `plugins.defaults`, for this plugin.", "[10, 1000]", kAsDefaults,
       &get_override<&PluginOverride::backoff>, &set_override<&PluginOverride::backoff>},
      {"/plugins/overrides/*/mailbox_limit", Integer{0, kManyMessages}, kLive,
       "As in `plugins.defaults`, for this plugin.", "100000", kAsDefaults,
       &get_override<&PluginOverride::mailbox_limit>,
       &set_override<&PluginOverride::mailbox_limit>},
      {"/plugins/overrides/*/config", AnyObject{}, kLive,
       "The plugin's own configuration; it reads this as `ctx.config()`. The daemon checks only "
       "that it is an object.",
       "{\"listen\": \"127.0.0.1:7777\"}", "", &get_plugin_config, &set_plugin_config},

      {"/log/level", Choice{kLogLevels}, kLive, "The least severe record that is written.",
       "\"debug\"", "", &get<&Config::log, &LogConfig::level>,
       &set<&Config::log, &LogConfig::level>},
      {"/log/format", Choice{kLogFormats}, kRestart,
       "How records are written to standard error. `auto`: journald when standard error is the "
       "journal, else text.",
       "\"json\"", "", &get<&Config::log, &LogConfig::format>,
       &set<&Config::log, &LogConfig::format>},

      {"/control/socket", Path{kMaxSocketBytes}, kRestart,
       "The Unix socket that `smarmctl` talks to.", "\"/run/smarmd/control.sock\"", "",
       &get<&Config::control, &ControlConfig::socket>,
       &set<&Config::control, &ControlConfig::socket>},

      {"/metrics/listen", Listen{}, kRestart,
       "Where `GET /metrics` is answered: an IPv4 address, an IPv6 address in brackets or "
       "`localhost`, and a port (0: any free one).",
       "\"[::1]:9464\"", "", &get<&Config::metrics, &MetricsConfig::listen>,
       &set<&Config::metrics, &MetricsConfig::listen>},
  };
  return kTable;
}

}  // namespace

std::span<const Key> keys() { return table(); }

const Key* find_key(std::string_view pattern) {
  const auto found = std::find_if(table().begin(), table().end(),
                                  [&](const Key& k) { return k.pointer == pattern; });
  return found == table().end() ? nullptr : &*found;
}

bool is_section(std::string_view pattern) {
  return std::any_of(table().begin(), table().end(), [&](const Key& k) {
    return k.pointer.size() > pattern.size() && k.pointer.starts_with(pattern) &&
           k.pointer[pattern.size()] == '/';
  });
}

std::optional<Json> default_of(const Key& key) { return key.get(Config{}, ""); }

}  // namespace smarmd::configuration

namespace smarmd {

using configuration::access::enumerator_name;

std::string_view name_of(smarm::IoBackend v) { return enumerator_name(v); }
std::string_view name_of(smarm::LogLevel v) { return enumerator_name(v); }
std::string_view name_of(OnFault v) { return enumerator_name(v); }
std::string_view name_of(LogFormat v) { return enumerator_name(v); }
std::string_view name_of(RestartType v) { return enumerator_name(v); }

}  // namespace smarmd
