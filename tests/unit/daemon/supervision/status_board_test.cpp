#include "daemon/supervision/status_board.hpp"

#include <doctest/doctest.h>

using namespace smarmd;

namespace {

std::vector<PluginView> in_states(const std::vector<std::string>& states) {
  std::vector<PluginView> all;
  for (const std::string& s : states) {
    PluginView v;
    v.snapshot.state = s;
    all.push_back(v);
  }
  return all;
}

}  // namespace

TEST_CASE("the status line counts the running ones first and the others by state") {
  CHECK(status_line({}) == "0 plugins running");
  CHECK(status_line(in_states({"running"})) == "1 plugin running");
  CHECK(status_line(in_states(
            {"refused", "running", "quarantined", "running", "running", "backing_off"})) ==
        "3 plugins running, 1 backing off, 1 quarantined, 1 refused");
}

TEST_CASE("the board finds a plugin by its account") {
  StatusBoard board;
  std::vector<PluginView> views(3);
  views[0].snapshot.name = "a";
  views[0].account = 7;
  views[1].snapshot.name = "b";
  views[1].account = 8;
  views[2].snapshot.name = "a file";
  board.show_plugins(views);
  CHECK(board.plugin_of(8) == "b");
  CHECK(board.plugin_of(9).empty());
  CHECK(board.plugin_of(0).empty());
}

TEST_CASE("the board gives back what it was shown, and its heart beats") {
  StatusBoard board;
  CHECK(board.state().phase == "starting");
  board.show_plugins(in_states({"running", "refused"}));
  board.show_state(
      {.phase = "running", .log_level = "info", .last_reload_ms = 5, .last_reload_error = "x"});
  CHECK(board.plugins().size() == 2);
  CHECK(board.state().phase == "running");
  CHECK(board.state().last_reload_ms == 5);
  const std::uint64_t before = board.beats();
  board.beat();
  CHECK(board.beats() == before + 1);
}
