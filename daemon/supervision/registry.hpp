// Names for actors, across plugins.
//
// A name belongs to a living actor: one whose actor has ended is free again, and is not found.
// Threads: any, actors too. Nothing here parks. The lock is a leaf; an actor that holds it is not
// preempted. Every function looks at a bounded number of names, whatever the number of actors.
#pragma once

#include <smarm/pid.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace smarmd {

class Registry {
 public:
  static constexpr std::size_t kMaxName = 255;
  static constexpr std::size_t kMaxNames = 65'536;

  using Alive = std::function<bool(smarm::Pid)>;
  explicit Registry(Alive alive);

  // `group`: of the life that publishes. False when the name is empty or too long, when another
  // living actor has it, or when the registry is full.
  bool publish(std::string_view name, smarm::Pid pid, std::uint64_t group);
  // ROOT_PID when no living actor has the name.
  smarm::Pid lookup(std::string_view name);
  // Drops the names of dead actors that this group has published.
  void prune(std::uint64_t group);
  std::size_t size() const;

 private:
  struct Holder {
    smarm::Pid pid;
    std::uint64_t group;
  };
  using Names = std::map<std::string, Holder, std::less<>>;
  void drop(Names::iterator name);

  const Alive alive_;  // called with the lock held
  mutable std::mutex mutex_;
  Names names_;                                             // by mutex_
  std::set<std::pair<std::uint64_t, std::string>> groups_;  // by mutex_: the names of each group
};

// Whether the pid's actor has not ended yet.
bool actor_lives(smarm::Pid pid);

}  // namespace smarmd
