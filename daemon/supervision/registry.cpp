#include "daemon/supervision/registry.hpp"

#include "daemon/supervision/quiet_lock.hpp"

#include <smarm/smarm.h>

#include <utility>

namespace smarmd {

Registry::Registry(Alive alive) : alive_(std::move(alive)) {}

void Registry::drop(Names::iterator name) {
  groups_.erase({name->second.group, name->first});
  names_.erase(name);
}

bool Registry::publish(std::string_view name, smarm::Pid pid, std::uint64_t group) {
  if (name.empty() || name.size() > kMaxName || pid == smarm::ROOT_PID) return false;
  QuietLock lock(mutex_);
  if (const auto at = names_.find(name); at != names_.end()) {
    if (at->second.pid == pid) return true;
    if (alive_(at->second.pid)) return false;
    drop(at);
  }
  if (names_.size() >= kMaxNames) return false;
  groups_.emplace(group, name);
  names_.emplace(name, Holder{pid, group});
  return true;
}

smarm::Pid Registry::lookup(std::string_view name) {
  QuietLock lock(mutex_);
  const auto at = names_.find(name);
  if (at == names_.end()) return smarm::ROOT_PID;
  if (alive_(at->second.pid)) return at->second.pid;
  drop(at);
  return smarm::ROOT_PID;
}

void Registry::prune(std::uint64_t group) {
  QuietLock lock(mutex_);
  for (auto at = groups_.lower_bound({group, {}}); at != groups_.end() && at->first == group;) {
    const auto name = names_.find((at++)->second);
    if (name != names_.end() && !alive_(name->second.pid)) drop(name);
  }
}

std::size_t Registry::size() const {
  QuietLock lock(mutex_);
  return names_.size();
}

bool actor_lives(smarm::Pid pid) { return smarm_actor_alive(pid.raw()) != 0; }

}  // namespace smarmd
