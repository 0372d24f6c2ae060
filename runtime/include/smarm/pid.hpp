// Pid: the name of an actor.
//
// A pid is an index into the actor table and the generation of that slot. When an actor ends its
// generation ends with it, so a stale pid is detected and never silently names another actor. Copy
// it freely, from any thread.
#pragma once

#include <smarm/smarm.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace smarm {

class Pid {
 public:
  constexpr Pid() = default;
  constexpr Pid(std::uint32_t index, std::uint32_t generation)
      : index_(index), generation_(generation) {}
  constexpr explicit Pid(smarm_pid raw) : index_(raw.index), generation_(raw.generation) {}

  constexpr std::uint32_t index() const { return index_; }
  constexpr std::uint32_t generation() const { return generation_; }
  constexpr smarm_pid raw() const { return {index_, generation_}; }
  std::string to_string() const {
    return std::to_string(index_) + "." + std::to_string(generation_);
  }

  friend constexpr auto operator<=>(const Pid&, const Pid&) = default;

 private:
  std::uint32_t index_ = 0;
  std::uint32_t generation_ = 0;
};

// The supervisor of actors that nobody supervises. Signals to it are dropped.
inline constexpr Pid ROOT_PID{};

}  // namespace smarm

template <>
struct std::hash<smarm::Pid> {
  std::size_t operator()(const smarm::Pid& pid) const noexcept {
    return std::hash<std::uint64_t>{}(std::uint64_t{pid.generation()} << 32 | pid.index());
  }
};
