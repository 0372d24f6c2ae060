// Actors of plugins that panic, other than root actors: what is said of them.
#pragma once

#include "daemon/log/record.hpp"

#include <smarm/smarm.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace smarmd {

// What the runtime tells (smarm_panic), as a value.
struct PanickedActor {
  PanickedActor(const smarm_panic& p, std::uint64_t not_told);

  smarm::Pid pid, supervisor;
  std::uint64_t group;
  std::uint64_t suppressed;  // of this group, since the last that was told
  std::string name, reason, type;
  std::vector<void*> frames;
};

std::string panicked_text(const std::string& plugin, const PanickedActor& p);
Fields panicked_fields(const std::string& plugin, const PanickedActor& p, LateText backtrace);

}  // namespace smarmd
