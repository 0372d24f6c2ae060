// ControlServer: answers the control socket from a thread of its own.
//
// The thread never waits for an actor, a worker or a client: sockets are non-blocking, a command
// that takes time is given a Reply and answered later, a client that is slow, silent or hostile
// costs one connection. So `smarmctl status` works when every worker is wedged.
//
// Invariants
// 1. The socket file is created with its final mode or a stricter one, and replaced only when
//    nobody answers on it; at the end it is removed only if it is still ours.
// 2. A connection has at most one request under way; what it sends meanwhile waits in its socket.
// 3. Every request is answered once: by its Reply, by its deadline or by an error.
#pragma once

#include <chrono>
#include <cstddef>
#include <expected>
#include <functional>
#include <memory>
#include <string>

#include "daemon/control/protocol.hpp"
#include "daemon/control/reply.hpp"

namespace smarmd {

class Logger;
struct SocketPlace;

struct ControlServerOptions {
  std::string path;
  std::string version;
  unsigned mode = 0660;
  std::size_t max_connections = 64;
  std::size_t max_request_bytes = kMaxRequestBytes;
  std::chrono::milliseconds idle_timeout{
      60'000};  // between requests, and for one request to arrive or one answer to leave
};

class ControlServer {
 public:
  // Called by the control thread; must return at once. An exception becomes an answer with code
  // `internal`.
  using Handler = std::function<void(const Request&, Reply)>;

  // Binds, listens and starts the thread. The error is one line that names the path and the way
  // out. logger must outlive the server; nullptr logs nothing.
  [[nodiscard]] static std::expected<std::unique_ptr<ControlServer>, std::string> start(
      ControlServerOptions options, Handler handler, Logger* logger);
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;
  ~ControlServer();  // answers what is under way with code `stopping`, closes, removes the socket

  const SocketPlace& socket() const;

 private:
  struct State;
  explicit ControlServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace smarmd
