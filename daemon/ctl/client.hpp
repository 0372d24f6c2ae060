// The client's side of the control protocol: one request, one answer.
#pragma once

#include <chrono>
#include <string>

#include <nlohmann/json.hpp>

#include "daemon/control/protocol.hpp"

namespace smarmd {

// The answer of the daemon, or an answer of the same shape that says why there is none: code
// `unreachable` (exit 3) names the socket and what to do, code `timeout` (exit 6). Waits for
// request.timeout, and a second more for the daemon's own word that the time is up. Blocks.
nlohmann::json ask_daemon(const std::string& socket, const Request& request);

}  // namespace smarmd
