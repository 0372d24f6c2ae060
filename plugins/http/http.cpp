// http: an HTTP/1.1 server. `GET /hello`, and static files.
//
// One actor per connection in plain blocking code (connection.cpp); the root actor accepts, and
// supervises: the ends of its connections arrive as Signals.
#include "connection.hpp"

#include <smarm/plugin.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>

namespace {

using namespace std::chrono_literals;
using smarm::LogLevel;
using smarm::plugin::Context;

constexpr auto kStopPoll = 100ms;  // how late a stop, or the end of a response, may be noticed
constexpr auto kStopGrace = 2s;    // what a request in hand gets to be finished

struct Settings {
  std::string listen = "127.0.0.1:8080";
  std::string root;
  std::int64_t max_header_bytes = 8192;
  std::int64_t max_body_bytes = 1 << 20;
  std::int64_t max_connections = 1024;
  std::int64_t idle_s = 30;
  std::int64_t header_timeout_s = 10;
};

std::string text(const nlohmann::json& config, const char* key, const char* form,
                 std::string fallback) {
  const auto it = config.find(key);
  if (it == config.end()) return fallback;
  if (it->is_string()) return it->get<std::string>();
  throw std::runtime_error("config: /" + std::string(key) + " must be a string, " + form +
                           ", not " + it->dump());
}

std::int64_t integer(const nlohmann::json& config, const char* key, std::int64_t fallback,
                     std::int64_t low, std::int64_t high) {
  const auto it = config.find(key);
  if (it == config.end()) return fallback;
  if (it->is_number_integer() && it->get<std::int64_t>() >= low && it->get<std::int64_t>() <= high)
    return it->get<std::int64_t>();
  throw std::runtime_error("config: /" + std::string(key) + " must be an integer from " +
                           std::to_string(low) + " to " + std::to_string(high) + ", not " +
                           it->dump());
}

Settings read_settings(std::string_view json) {
  static constexpr auto kKeys =
      std::to_array<std::string_view>({"listen", "root", "max_header_bytes", "max_body_bytes",
                                       "max_connections", "idle_s", "header_timeout_s"});
  const nlohmann::json config = nlohmann::json::parse(json);
  for (const auto& [key, value] : config.items()) {
    if (std::ranges::find(kKeys, key) == kKeys.end())
      throw std::runtime_error("config: /" + key +
                               " is not a key of http (listen, root, max_header_bytes, "
                               "max_body_bytes, max_connections, idle_s, header_timeout_s)");
  }
  Settings s;
  s.listen = text(config, "listen", "host:port", s.listen);
  s.root = text(config, "root", "the path of a directory", s.root);
  if (!s.root.empty() && !s.root.starts_with('/'))
    throw std::runtime_error("config: /root must be an absolute path, not \"" + s.root + "\"");
  s.max_header_bytes = integer(config, "max_header_bytes", s.max_header_bytes, 256, 1 << 20);
  s.max_body_bytes = integer(config, "max_body_bytes", s.max_body_bytes, 0, 1 << 30);
  s.max_connections = integer(config, "max_connections", s.max_connections, 1, 1'000'000);
  s.idle_s = integer(config, "idle_s", s.idle_s, 1, 86'400);
  s.header_timeout_s = integer(config, "header_timeout_s", s.header_timeout_s, 1, 3'600);
  return s;
}

std::shared_ptr<const http::Site> open_site(const Settings& settings) {
  auto site = std::make_shared<http::Site>();
  if (!settings.root.empty()) {
    auto root = smarm::block_on_io([&] { return http::open_directory(settings.root); });
    if (!root)
      throw std::runtime_error("cannot open the directory " + settings.root + ": " +
                               std::system_category().message(root.error()) +
                               "; make it readable, or set another one in /root of the plugin's "
                               "config");
    site->root = std::move(*root);
  }
  site->max_header_bytes = static_cast<std::size_t>(settings.max_header_bytes);
  site->max_body_bytes = static_cast<std::uint64_t>(settings.max_body_bytes);
  site->idle = std::chrono::seconds(settings.idle_s);
  site->header_timeout = std::chrono::seconds(settings.header_timeout_s);
  return site;
}

// The socket that the service manager opened for us, else one of our own. Throws: supervision tries
// again, with a growing delay, until the port is free or the plugin is quarantined.
smarm::TcpListener open_listener(const Context& ctx, const Settings& settings) {
  auto listener = ctx.listen("http", settings.listen);
  if (listener) return std::move(*listener);
  throw std::runtime_error(
      "cannot listen: " + listener.error().what() +
      "; free the address or set another one in /listen of the plugin's config");
}

class Server {
 public:
  Server(Context& ctx, std::shared_ptr<const http::Site> site, std::int64_t max_connections)
      : ctx_(ctx), site_(std::move(site)), max_connections_(max_connections) {
    auto [tx, rx] = smarm::channel<smarm::Signal>();
    smarm::register_supervisor_channel(smarm::self_pid(), std::move(tx));
    ends_ = std::move(rx);
  }

  void accept_until_stop(smarm::TcpListener& listener) {
    while (!ctx_.stopping()) {
      auto stream = listener.accept(kStopPoll);
      while (auto ended = ends_.try_recv()) connections_.erase(pid_of(*ended));
      if (stream) {
        admit(std::move(*stream));
      } else if (stream.error().code != std::errc::timed_out) {
        // Out of descriptors, most likely. The next accept waits before it tries again.
        ctx_.log(LogLevel::warn, stream.error().what());
      }
    }
  }

  // First a request to all. Those that wait for their client are unwound in their read, and their
  // destructors close the sockets; the others may finish what they have begun.
  void close_connections() {
    for (const auto& [pid, busy] : connections_) smarm::stop(pid);
    const auto deadline = std::chrono::steady_clock::now() + kStopGrace;
    do {
      for (const auto& [pid, busy] : connections_) {
        if (!busy->load()) smarm::kill(pid);
      }
      wait_for_ends(kStopPoll);
    } while (!connections_.empty() && std::chrono::steady_clock::now() < deadline);
    for (const auto& [pid, busy] : connections_) smarm::kill(pid);
    wait_for_ends(5s);
  }

 private:
  void admit(smarm::TcpStream stream) {
    if (static_cast<std::int64_t>(connections_.size()) >= max_connections_) {
      if (!std::exchange(full_, true))
        ctx_.log(LogLevel::warn, "at the limit of " + std::to_string(max_connections_) +
                                     " connections (/max_connections): new ones get a 503");
      return http::turn_away(std::move(stream));
    }
    full_ = false;
    auto busy = std::make_shared<http::Busy>(false);
    auto connection = smarm::spawn(
        {.name = "http-connection"}, [stream = std::move(stream), site = site_, busy]() mutable {
          http::serve(std::move(stream), std::move(site), std::move(busy));
        });
    connections_.emplace(connection.pid(), std::move(busy));
  }

  void wait_for_ends(std::chrono::steady_clock::duration limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!connections_.empty()) {
      auto ended = ends_.recv_timeout(deadline - std::chrono::steady_clock::now());
      if (!ended) return;
      connections_.erase(pid_of(*ended));
    }
  }

  Context& ctx_;
  std::shared_ptr<const http::Site> site_;
  std::int64_t max_connections_;
  smarm::Receiver<smarm::Signal> ends_;
  std::unordered_map<smarm::Pid, std::shared_ptr<http::Busy>> connections_;
  bool full_ = false;
};

void run(Context& ctx) {
  Settings settings;
  std::shared_ptr<const http::Site> site;
  smarm::TcpListener listener;
  try {
    settings = read_settings(ctx.config());
    site = open_site(settings);
    listener = open_listener(ctx, settings);
  } catch (const std::exception& e) {
    ctx.log(LogLevel::error, e.what());
    throw;
  }
  ctx.log(LogLevel::info, "listening on " + listener.address());
  Server server(ctx, std::move(site), settings.max_connections);
  server.accept_until_stop(listener);
  listener.close();
  server.close_connections();
}

}  // namespace

SMARM_PLUGIN({.name = "http",
              .version = "1.0.0",
              .description = "an HTTP/1.1 server of static files",
              .main = run});
