// One connection: requests in, responses out, in plain blocking code.
#pragma once

#include "files.hpp"

#include <smarm/smarm.hpp>

#include <atomic>
#include <cstdint>
#include <memory>

namespace http {

// What all connections share, and nobody changes.
struct Site {
  Descriptor root;  // none: there are no files
  std::size_t max_header_bytes = 0;
  std::uint64_t max_body_bytes = 0;
  smarm::Duration idle{};            // how long a client may say nothing between two requests
  smarm::Duration header_timeout{};  // how long it may take over the head of one
};

// True from the first byte of a request until its response is written.
using Busy = std::atomic<bool>;

// Runs until the client closes or is not worth waiting for, or a stop is asked for.
void serve(smarm::TcpStream stream, std::shared_ptr<const Site> site, std::shared_ptr<Busy> busy);

// For a connection too many: says so and does not wait.
void turn_away(smarm::TcpStream stream);

}  // namespace http
