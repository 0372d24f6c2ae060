// Actors that block their worker: what is said of them.
#pragma once

#include "daemon/log/record.hpp"

#include <smarm/smarm.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace smarmd {

// What the runtime tells (smarm_blocked), as a value.
struct BlockedActor {
  explicit BlockedActor(const smarm_blocked& b)
      : kind(b.kind),
        pid(b.pid),
        group(b.group),
        name(b.name),
        system_call(b.system_call),
        blocked_ms(static_cast<std::int64_t>(b.blocked_ns / 1'000'000)),
        frames(b.frames, b.frames + b.frame_count) {}

  std::uint32_t kind;  // enum smarm_blocked_kind
  smarm::Pid pid;
  std::uint64_t group;
  std::string name;
  std::int64_t system_call;
  std::int64_t blocked_ms;
  std::vector<void*> frames;
};

// "poll", or "call 7" for one that has no well-known name.
std::string system_call_name(std::int64_t number);
std::string blocked_text(const std::string& plugin, const BlockedActor& b);
Fields blocked_fields(const std::string& plugin, const BlockedActor& b, std::uint64_t suppressed,
                      LateText backtrace);

}  // namespace smarmd
