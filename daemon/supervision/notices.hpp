// What the runtime kept plugins from doing to the process, as records of the log.
//
// The records come from whatever thread it happened on, the plugin's own among them.
#pragma once

#include "daemon/log/logger.hpp"
#include "daemon/supervision/status_board.hpp"

#include <smarm/smarm.h>

#include <string>
#include <string_view>

namespace smarmd {

// The plugin that a private copy, ".../echo.g3.so", is an image of; empty when it is none.
std::string plugin_of_image(std::string_view file);

// Logs what is told while it lives; one at a time. Both outlive it.
class Notices {
 public:
  Notices(Logger& logger, const StatusBoard& board);
  ~Notices();
  Notices(const Notices&) = delete;
  Notices& operator=(const Notices&) = delete;

 private:
  void log(const smarm_notice& notice) const;

  Logger& logger_;
  const StatusBoard& board_;
};

}  // namespace smarmd
