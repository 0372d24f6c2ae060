#include "daemon/supervision/status_board.hpp"

#include "daemon/supervision/quiet_lock.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace smarmd {

void StatusBoard::show_plugins(std::vector<PluginView> plugins) {
  QuietLock lock(mutex_);
  plugins_.swap(plugins);  // the old ones are freed after the lock
}

std::vector<PluginView> StatusBoard::plugins() const {
  QuietLock lock(mutex_);
  return plugins_;
}

std::string StatusBoard::plugin_of(std::uint64_t account) const {
  if (account == 0) return {};
  QuietLock lock(mutex_);
  const auto it = std::ranges::find(plugins_, account, &PluginView::account);
  return it == plugins_.end() ? std::string() : it->snapshot.name;
}

void StatusBoard::show_state(BoardState state) {
  QuietLock lock(mutex_);
  std::swap(state_, state);
}

BoardState StatusBoard::state() const {
  QuietLock lock(mutex_);
  return state_;
}

std::string status_line(const std::vector<PluginView>& plugins) {
  std::map<std::string, std::size_t> count;
  for (const PluginView& p : plugins) ++count[p.snapshot.state];
  const std::size_t running = count["running"];
  std::string line =
      std::to_string(running) + (running == 1 ? " plugin running" : " plugins running");
  for (const auto& [state, n] : count) {
    if (n > 0 && state != "running")
      line += ", " + std::to_string(n) + " " + (state == "backing_off" ? "backing off" : state);
  }
  return line;
}

}  // namespace smarmd
