#include "daemon/supervision/needs.hpp"

#include <doctest/doctest.h>

#include <map>

using namespace smarmd;
using Kind = NeedsAnswer::Kind;

namespace {

struct World {
  std::map<std::string, PluginState, std::less<>> states;
  std::map<std::string, std::vector<std::string>, std::less<>> needs;

  NeedsView view() const {
    return {
        .state = [this](std::string_view n) -> std::optional<PluginState> {
          const auto at = states.find(n);
          return at == states.end() ? std::nullopt : std::optional(at->second);
        },
        .needs =
            [this](std::string_view n) {
              const auto at = needs.find(n);
              return at == needs.end() ? std::vector<std::string>{} : at->second;
            },
    };
  }
  NeedsAnswer check(const std::string& name) const {
    return check_needs(name, needs.at(name), view());
  }
};

}  // namespace

TEST_CASE("what needs nothing may start, and so may what needs running plugins") {
  World w;
  w.states = {{"a", PluginState::found}, {"b", PluginState::running}, {"c", PluginState::running}};
  w.needs = {{"a", {}}};
  CHECK(w.check("a").kind == Kind::met);
  w.needs["a"] = {"b", "c"};
  CHECK(w.check("a").kind == Kind::met);
}

TEST_CASE("a need in each state lets start, waits or refuses") {
  using enum PluginState;
  const std::map<PluginState, Kind> expected = {
      {found, Kind::wait},     {loading, Kind::wait},       {running, Kind::met},
      {stopping, Kind::wait},  {backing_off, Kind::wait},   {stopped, Kind::refuse},
      {refused, Kind::refuse}, {quarantined, Kind::refuse}, {disabled, Kind::refuse},
      {removed, Kind::refuse},
  };
  for (const auto& [state, kind] : expected) {
    CAPTURE(to_string(state));
    World w;
    w.states = {{"a", found}, {"b", state}};
    w.needs = {{"a", {"b"}}};
    const NeedsAnswer answer = w.check("a");
    CHECK(answer.kind == kind);
    if (kind == Kind::refuse) {
      CHECK(answer.need == "b");
      CHECK(answer.reason.find(to_string(state)) != std::string::npos);
    }
  }
}

TEST_CASE("a missing need is named, before one that is only on its way") {
  World w;
  w.states = {{"a", PluginState::found}, {"b", PluginState::loading}};
  w.needs = {{"a", {"b", "ghost"}}};
  const NeedsAnswer answer = w.check("a");
  CHECK(answer.kind == Kind::refuse);
  CHECK(answer.need == "ghost");
  CHECK(answer.reason ==
        "it needs the plugin \"ghost\", which is not there; it starts when a file with that plugin "
        "is installed");
}

TEST_CASE(
    "a circle is refused and spelt out for each of its members, not for those that lead into it") {
  World w;
  using enum PluginState;
  w.states = {{"a", found}, {"b", found}, {"c", found}, {"outside", found}};
  w.needs = {{"a", {"b"}}, {"b", {"c"}}, {"c", {"a"}}, {"outside", {"a"}}};
  CHECK(w.check("a").reason ==
        "it needs itself: a -> b -> c -> a; remove one of these from .needs");
  CHECK(w.check("b").reason ==
        "it needs itself: b -> c -> a -> b; remove one of these from .needs");
  CHECK(w.check("outside").kind == Kind::wait);
  w.states["self"] = found;
  w.needs["self"] = {"self"};
  CHECK(w.check("self").reason == "it needs itself: self -> self; remove one of these from .needs");
}

TEST_CASE("a lattice of needs is searched once per plugin") {
  World w;
  // 2^40 paths lead through forty layers of two.
  for (int layer = 0; layer < 40; ++layer) {
    for (const char* side : {"l", "r"}) {
      const std::string name = side + std::to_string(layer);
      w.states[name] = PluginState::found;
      if (layer < 39)
        w.needs[name] = {"l" + std::to_string(layer + 1), "r" + std::to_string(layer + 1)};
    }
  }
  w.states["top"] = PluginState::found;
  w.needs["top"] = {"l0", "r0"};
  CHECK(w.check("top").kind == Kind::wait);
}
