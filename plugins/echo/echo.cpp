// echo: a TCP server that sends every byte back.
//
// One actor per connection in plain blocking code; the root actor accepts, and supervises: the ends
// of its connections arrive as Signals, which is how it knows how many there are.
#include <smarm/plugin.hpp>

#include <nlohmann/json.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <utility>

namespace {

using namespace std::chrono_literals;
using smarm::LogLevel;
using smarm::plugin::Context;

constexpr auto kStopPoll = 100ms;   // how late the accept loop may notice a stop
constexpr auto kStopGrace = 500ms;  // what open connections get to finish the bytes in hand

struct Settings {
  std::string listen = "127.0.0.1:7777";
  std::int64_t max_connections = 1024;
  std::int64_t idle_s = 300;
};

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

Settings read_settings(std::string_view text) {
  const nlohmann::json config = nlohmann::json::parse(text);
  for (const auto& [key, value] : config.items()) {
    if (key != "listen" && key != "max_connections" && key != "idle_s")
      throw std::runtime_error("config: /" + key +
                               " is not a key of echo (listen, max_connections, idle_s)");
  }
  Settings s;
  if (const auto it = config.find("listen"); it != config.end()) {
    if (!it->is_string())
      throw std::runtime_error("config: /listen must be a string, host:port, not " + it->dump());
    s.listen = it->get<std::string>();
  }
  s.max_connections = integer(config, "max_connections", s.max_connections, 1, 1'000'000);
  s.idle_s = integer(config, "idle_s", s.idle_s, 1, 86'400);
  return s;
}

// The socket that the service manager opened for us, else one of our own. Throws: supervision tries
// again, with a growing delay, until the port is free or the plugin is quarantined.
smarm::TcpListener open_listener(const Context& ctx, const Settings& settings) {
  auto listener = ctx.listen("echo", settings.listen);
  if (listener) return std::move(*listener);
  throw std::runtime_error(
      "cannot listen: " + listener.error().what() +
      "; free the address or set another one in /listen of the plugin's config");
}

// A connection: runs until the peer closes, idles too long, or the plugin stops.
void serve(smarm::TcpStream stream, smarm::Duration idle) {
  std::array<char, 2048> buffer;
  while (!smarm::stop_requested()) {
    const auto got = stream.read(buffer, idle);
    if (!got || *got == 0) return;
    if (!stream.write_all(std::span(buffer.data(), *got), idle)) return;
  }
}

class Server {
 public:
  Server(Context& ctx, const Settings& settings) : ctx_(ctx), settings_(settings) {
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

  // First a request, which a busy connection sees between two reads; then the idle ones are unwound
  // in their read. Their destructors close the sockets.
  void close_connections() {
    for (smarm::Pid pid : connections_) smarm::stop(pid);
    wait_for_ends(kStopGrace);
    for (smarm::Pid pid : connections_) smarm::kill(pid);
    wait_for_ends(5s);
  }

 private:
  void admit(smarm::TcpStream stream) {
    if (static_cast<std::int64_t>(connections_.size()) >= settings_.max_connections) {
      if (!std::exchange(full_, true))
        ctx_.log(LogLevel::warn, "at the limit of " + std::to_string(settings_.max_connections) +
                                     " connections (/max_connections): closing new ones");
      return;
    }
    full_ = false;
    auto connection = smarm::spawn(
        {.name = "echo-connection"},
        [stream = std::move(stream), idle = std::chrono::seconds(settings_.idle_s)]() mutable {
          serve(std::move(stream), idle);
        });
    connections_.insert(connection.pid());
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
  const Settings& settings_;
  smarm::Receiver<smarm::Signal> ends_;
  std::unordered_set<smarm::Pid> connections_;
  bool full_ = false;
};

void echo(Context& ctx) {
  Settings settings;
  smarm::TcpListener listener;
  try {
    settings = read_settings(ctx.config());
    listener = open_listener(ctx, settings);
  } catch (const std::exception& e) {
    ctx.log(LogLevel::error, e.what());
    throw;
  }
  ctx.log(LogLevel::info, "listening on " + listener.address());
  Server server(ctx, settings);
  server.accept_until_stop(listener);
  listener.close();
  server.close_connections();
}

}  // namespace

SMARM_PLUGIN({.name = "echo",
              .version = "1.0.0",
              .description = "sends every byte back, over TCP",
              .main = echo});
