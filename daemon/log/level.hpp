// Log levels and formats: the configuration's own types under the names that the log room uses.
#pragma once

#include "daemon/config/config.hpp"

#include <algorithm>

namespace smarmd {

using Level = smarm::LogLevel;

// The level of a number that a plugin passed: what is out of range is taken as the nearest level.
constexpr Level level_from_number(int number) {
  return static_cast<Level>(
      std::clamp(number, static_cast<int>(Level::trace), static_cast<int>(Level::critical)));
}

}  // namespace smarmd
