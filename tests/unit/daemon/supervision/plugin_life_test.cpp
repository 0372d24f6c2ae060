#include "daemon/supervision/plugin_life.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <set>
#include <vector>

using namespace smarmd;
using enum PluginState;

namespace {

const std::vector<PluginState> kAll = {found,   loading,     running, stopping, backing_off,
                                       stopped, quarantined, refused, disabled, removed};

// Written out once more by hand, so that a change of the table is a decision.
const std::map<PluginState, std::set<PluginState>> kExpected = {
    {found, {loading, running, refused, disabled, stopped, removed}},
    {loading, {found, refused, disabled, stopped, removed}},
    {running, {stopping}},
    {stopping, {found, running, backing_off, stopped, quarantined, disabled, removed}},
    {backing_off, {running, stopped, disabled, removed}},
    {stopped, {running, disabled, removed}},
    {quarantined, {running, disabled, removed}},
    {refused, {found, disabled, removed}},
    {disabled, {found, removed}},
    {removed, {}},
};

// What the process says and how it ends when a plugin in state `from` enters `to`.
int status_of_entering(PluginState from, PluginState to) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(2);
    std::signal(SIGABRT, SIG_DFL);
    PluginLife life;
    for (PluginState step : from == found ? std::vector<PluginState>{}
                                          : std::vector<PluginState>{running, stopping, from}) {
      if (life.state() != from) life.enter(step);
    }
    life.enter(to);
    ::_exit(life.state() == to ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

}  // namespace

TEST_CASE("every pair of states is legal exactly when the table says so") {
  REQUIRE(kAll.size() == kPluginStates);
  for (PluginState from : kAll) {
    for (PluginState to : kAll) {
      CAPTURE(to_string(from));
      CAPTURE(to_string(to));
      CHECK(legal_transition(from, to) == kExpected.at(from).contains(to));
    }
  }
}

TEST_CASE("no state is a dead end but removed, and every state can be reached from found") {
  std::set<PluginState> reached = {found};
  for (std::size_t round = 0; round < kPluginStates; ++round) {
    for (PluginState from : std::set<PluginState>(reached)) {
      for (PluginState to : kAll) {
        if (legal_transition(from, to)) reached.insert(to);
      }
    }
  }
  CHECK(reached.size() == kPluginStates);
  for (PluginState from : kAll) {
    bool out = false;
    for (PluginState to : kAll) out |= legal_transition(from, to);
    CHECK(out == (from != removed));
  }
}

TEST_CASE("a life starts as found, takes a legal step and aborts at an illegal one") {
  CHECK(PluginLife{}.state() == found);
  const int good = status_of_entering(found, loading);
  CHECK((WIFEXITED(good) && WEXITSTATUS(good) == 0));
  const int bad = status_of_entering(found, backing_off);
  CHECK((WIFSIGNALED(bad) && WTERMSIG(bad) == SIGABRT));
  const int out_of_removed = status_of_entering(removed, found);
  CHECK((WIFSIGNALED(out_of_removed) && WTERMSIG(out_of_removed) == SIGABRT));
}

TEST_CASE("every state has its own name, and only running and stopping hold actors") {
  std::set<std::string_view> names;
  for (PluginState s : kAll) {
    names.insert(to_string(s));
    CHECK(has_actors(s) == (s == running || s == stopping));
  }
  CHECK(names.size() == kPluginStates);
}
