#include "daemon/supervision/registry.hpp"

#include "daemon/supervision/quiet_lock.hpp"

#include <smarm/smarm.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace smarmd {

Registry::Registry(Alive alive) : alive_(std::move(alive)) {}

smarm::Pid Registry::holder(std::string_view name) const {
  QuietLock lock(mutex_);
  const auto at = names_.find(name);
  return at == names_.end() ? smarm::ROOT_PID : at->second;
}

// Only while the name is still the dead actor's: meanwhile it may have been given anew.
bool Registry::forget(std::string_view name, smarm::Pid dead) {
  QuietLock lock(mutex_);
  const auto at = names_.find(name);
  if (at == names_.end() || at->second != dead) return false;
  names_.erase(at);
  return true;
}

bool Registry::publish(std::string_view name, smarm::Pid pid) {
  if (name.empty() || name.size() > kMaxName || pid == smarm::ROOT_PID) return false;
  // The look at the actor table stays outside the lock.
  if (const smarm::Pid before = holder(name); before != smarm::ROOT_PID && before != pid) {
    if (alive_(before)) return false;
    forget(name, before);
  }
  std::string key(name);
  QuietLock lock(mutex_);
  if (names_.size() >= kMaxNames) return false;
  const auto [at, fresh] = names_.try_emplace(std::move(key), pid);
  return fresh || at->second == pid;
}

smarm::Pid Registry::lookup(std::string_view name) {
  const smarm::Pid pid = holder(name);
  if (pid == smarm::ROOT_PID || alive_(pid)) return pid;
  forget(name, pid);
  return smarm::ROOT_PID;
}

void Registry::prune() {
  std::vector<std::pair<std::string, smarm::Pid>> all;
  {
    QuietLock lock(mutex_);
    all.assign(names_.begin(), names_.end());
  }
  for (const auto& [name, pid] : all) {
    if (!alive_(pid)) forget(name, pid);
  }
}

std::size_t Registry::size() const {
  QuietLock lock(mutex_);
  return names_.size();
}

bool actor_lives(smarm::Pid pid) {
  std::vector<smarm_actor_info> actors(smarm_actor_list(nullptr, 0) + 64);
  actors.resize(std::min(actors.size(), smarm_actor_list(actors.data(), actors.size())));
  return std::ranges::any_of(actors, [&](const smarm_actor_info& a) {
    return smarm::Pid(a.pid) == pid && std::string_view(a.state) != "ended";
  });
}

}  // namespace smarmd
