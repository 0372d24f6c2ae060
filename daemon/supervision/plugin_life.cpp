#include "daemon/supervision/plugin_life.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>

namespace smarmd {

namespace {

using enum PluginState;

constexpr std::array<std::string_view, kPluginStates> kNames = {
    "found",   "loading",     "running", "stopping", "backing_off",
    "stopped", "quarantined", "refused", "disabled", "removed"};

using Row = std::uint16_t;  // one bit per state that may follow

template <class... S>
constexpr Row to(S... next) {
  return static_cast<Row>(((1u << static_cast<unsigned>(next)) | ... | 0u));
}

// Index: the state now.
constexpr std::array<Row, kPluginStates> kTable = {
    /* found       */ to(loading, running, refused, disabled, stopped, removed),
    /* loading     */ to(found, refused, disabled, stopped, removed),
    /* running     */ to(stopping),
    /* stopping    */ to(found, running, backing_off, stopped, quarantined, disabled, removed),
    /* backing_off */ to(running, stopped, disabled, removed),
    /* stopped     */ to(running, disabled, removed),
    /* quarantined */ to(running, disabled, removed),
    /* refused     */ to(found, disabled, removed),
    /* disabled    */ to(found, removed),
    /* removed     */ to(),
};

}  // namespace

std::string_view to_string(PluginState state) { return kNames[static_cast<std::size_t>(state)]; }

bool legal_transition(PluginState from, PluginState next) {
  return (kTable[static_cast<std::size_t>(from)] >> static_cast<unsigned>(next)) & 1u;
}

bool has_actors(PluginState state) { return state == running || state == stopping; }

void PluginLife::enter(PluginState next) {
  if (!legal_transition(state_, next)) {
    std::fprintf(stderr, "smarmd: bug: a plugin may not go from %s to %s\n",
                 kNames[static_cast<std::size_t>(state_)].data(),
                 kNames[static_cast<std::size_t>(next)].data());
    std::abort();
  }
  state_ = next;
}

}  // namespace smarmd
