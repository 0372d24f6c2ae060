// The load: clients in a closed loop. Each connection sends a request, waits for the whole answer,
// and sends the next one. One thread, which is the calling one.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace wire {

struct Load {
  std::uint16_t port = 0;  // of 127.0.0.1
  unsigned connections = 1;
  std::string request{};
  bool echo = true;  // the answer is the request; else it is HTTP, all answers as long as the first
  std::chrono::milliseconds warm_up{200}, measured{500};
};

struct Answered {
  std::string failure{};  // empty: all was served
  double per_second = 0;
  double p50_us = 0, p99_us = 0, p999_us = 0;
};

// begin and end are called when the measured time begins and ends.
Answered put_load(const Load& load, const std::function<void()>& begin,
                  const std::function<void()>& end);

// Waits until somebody accepts connections on the port; false: nobody does for that long.
bool wait_for_port(std::uint16_t port, std::chrono::milliseconds limit);

}  // namespace wire
