// StatusBoard: what the supervisor shows to threads that must not wait for it (control, metrics,
// watchdog, the last words of a shutdown).
//
// Threads: any. The supervisor actor writes, everybody reads copies.
#pragma once

#include "daemon/supervision/plugin_supervisor.hpp"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace smarmd {

struct BoardState {
  std::string phase = "starting";  // starting, running, reloading, stopping
  std::string log_level;
  std::int64_t last_reload_ms = 0;
  std::string last_reload_error;
};

class StatusBoard {
 public:
  void show_plugins(std::vector<PluginView> plugins);
  std::vector<PluginView> plugins() const;
  // The plugin that has this account; empty when there is none.
  std::string plugin_of(std::uint64_t account) const;
  void show_state(BoardState state);
  BoardState state() const;

  // The supervisor turns the counter on each of its rounds: a sign that a worker runs actors.
  void beat() {
    beats_.fetch_add(1, std::memory_order_relaxed);
  }  // relaxed: only its change matters
  std::uint64_t beats() const { return beats_.load(std::memory_order_relaxed); }

 private:
  mutable std::mutex mutex_;
  std::vector<PluginView> plugins_;  // by mutex_
  BoardState state_;                 // by mutex_
  std::atomic<std::uint64_t> beats_{0};
};

// "3 plugins running, 1 quarantined": what systemctl status shows.
std::string status_line(const std::vector<PluginView>& plugins);

}  // namespace smarmd
