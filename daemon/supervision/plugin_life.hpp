// The life of one plugin as a table of legal transitions.
//
// What it is   Every plugin the daemon knows is in exactly one state. Only the transitions of the
// table happen; anything else is a bug in the
//              supervisor and ends the process with both states named.
// Threads      A value without a lock; the supervisor actor owns every instance.
//
//   found        its file is known; it waits for its turn or for the plugins it needs
//   loading      its file is being checked, probed, copied and opened, off the workers
//   running      its root actor lives
//   stopping     its root actor was asked to end, or has ended, and the actors it left are being
//   ended backing_off  it starts again when the delay is over stopped      it ended and its policy
//   does not start it again, or the daemon is shutting down quarantined  it used up its restarts;
//   revived by hand or by a new file refused      it cannot start: the reason says why and what to
//   do disabled     the configuration says so removed      its file is gone; the record is about to
//   be dropped
//
// Every way out of `running` leads through `stopping`: no image is started again, replaced or
// unloaded before the actors of the last life are gone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace smarmd {

enum class PluginState : std::uint8_t {
  found,
  loading,
  running,
  stopping,
  backing_off,
  stopped,
  quarantined,
  refused,
  disabled,
  removed
};
inline constexpr std::size_t kPluginStates = 10;

std::string_view to_string(PluginState state);

// True when the table has the transition. A state never goes to itself.
bool legal_transition(PluginState from, PluginState to);

// True in the states that hold or may soon hold actors: running and stopping.
bool has_actors(PluginState state);

class PluginLife {
 public:
  PluginState state() const { return state_; }
  // Enters the next state. Ends the process when the table forbids it.
  void enter(PluginState next);

 private:
  PluginState state_ = PluginState::found;
};

}  // namespace smarmd
