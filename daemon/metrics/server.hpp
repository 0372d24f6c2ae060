// MetricsServer: GET /metrics over HTTP/1.1, from a thread of its own that waits for nobody.
//
// One request a connection, then it is closed. The parser takes exactly what a scraper sends and
// answers 400, 404, 405 or 431 to the rest.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>

namespace smarmd {

class Logger;

struct MetricsServerOptions {
  std::string listen;  // "127.0.0.1:9464", "[::1]:9464", "localhost:9464"; port 0 takes a free one
  std::size_t max_connections = 32;
  std::size_t max_request_bytes = std::size_t{8} * 1024;
  std::chrono::milliseconds request_timeout{5'000};
};

class MetricsServer {
 public:
  // Called by the metrics thread for every scrape; must not wait for an actor.
  using Content = std::function<std::string()>;

  // The error is one line that names the address and the way out; the daemon goes on without
  // metrics. logger may be nullptr.
  [[nodiscard]] static std::expected<std::unique_ptr<MetricsServer>, std::string> start(
      MetricsServerOptions options, Content content, Logger* logger);
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;
  ~MetricsServer();

  // The port that it listens on.
  std::uint16_t port() const;

 private:
  struct State;
  explicit MetricsServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace smarmd
