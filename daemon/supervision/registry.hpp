// Names for actors, across plugins.
//
// A name belongs to a living actor: one whose actor has ended is free again, and is not found.
// Threads: any, actors too. Nothing here parks. The lock is a leaf; an actor that holds it is not
// preempted.
#pragma once

#include <smarm/pid.hpp>

#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace smarmd {

class Registry {
 public:
  static constexpr std::size_t kMaxName = 255;
  static constexpr std::size_t kMaxNames = 65'536;

  using Alive = std::function<bool(smarm::Pid)>;
  explicit Registry(Alive alive);

  // False when the name is empty or too long, when another living actor has it, or when the
  // registry is full.
  bool publish(std::string_view name, smarm::Pid pid);
  // ROOT_PID when no living actor has the name.
  smarm::Pid lookup(std::string_view name);
  // Drops the names of dead actors.
  void prune();
  std::size_t size() const;

 private:
  smarm::Pid holder(std::string_view name) const;
  bool forget(std::string_view name, smarm::Pid dead);

  const Alive alive_;
  mutable std::mutex mutex_;
  std::map<std::string, smarm::Pid, std::less<>> names_;  // by mutex_
};

// Whether the pid's actor has not ended yet, by a scan of the actor table.
bool actor_lives(smarm::Pid pid);

}  // namespace smarmd
