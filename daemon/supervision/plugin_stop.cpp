// Stops: asked, killed, reaped; what follows a stop; the shutdown of all.
#include "daemon/supervision/plugin_supervisor.hpp"

#include <algorithm>
#include <utility>

namespace smarmd {

using enum PluginState;

namespace {

constexpr Milliseconds kLongestPoll{50};

}  // namespace

void PluginSupervisor::begin_stop(PluginRecord& r, Next next, std::string_view why) {
  enter(r, stopping);
  r.stop = Stop{};
  r.stop.asked = true;
  r.stop.next = next;
  r.stop.deadline = effects_.now() + Milliseconds(config_.runtime.shutdown_ms);
  if (shutdown_) r.stop.deadline = std::min(r.stop.deadline, shutdown_->deadline);
  reports_.stopping(r, why);
  effects_.ask_stop(r.root, r.group);
}

// The root actor has ended: what it left is ended too.
void PluginSupervisor::reap(PluginRecord& r) {
  reports_.ended(r);
  r.stop.phase = Stop::Phase::reaping;
  r.stop.deadline = effects_.now() + kKillGrace;
  r.stop.poll = effects_.now();
  if (effects_.actors_of(r.group) > 0) effects_.kill(r.group);
  step_stop(r);
}

void PluginSupervisor::step_stop(PluginRecord& r) {
  const SteadyTime now = effects_.now();
  Stop& stop = r.stop;
  switch (stop.phase) {
    case Stop::Phase::draining:
      if (now < stop.deadline) return;
      reports_.overran(r);
      stop.phase = Stop::Phase::killing;
      stop.deadline = now + kKillGrace;
      effects_.kill(r.group);
      return;
    case Stop::Phase::killing:
      if (now < stop.deadline) return;
      stop.stuck = true;
      roots_.erase(r.root);
      r.root = {};
      finish_stop(r);
      return;
    case Stop::Phase::reaping:
      if (now < stop.poll && now < stop.deadline) return;
      if (effects_.actors_of(r.group) > 0) {
        if (now < stop.deadline) {
          stop.poll = now + stop.poll_gap;
          stop.poll_gap = std::min(stop.poll_gap * 2, kLongestPoll);
          return;
        }
        stop.stuck = true;
      }
      finish_stop(r);
      return;
  }
}

// The life is over: no actor of it is left, or what is left was given up.
void PluginSupervisor::finish_stop(PluginRecord& r) {
  if (r.stop.stuck) {
    r.current->pinned = true;
    reports_.stuck(r, effects_.actors_of(r.group));
  } else {
    effects_.forget(r.group);
  }
  r.group = 0;
  if (shutdown_) {
    enter(r, stopped);
    return;
  }
  resume(r);
}

void PluginSupervisor::resume(PluginRecord& r) {
  switch (r.stop.next) {
    case Next::back_off:
      enter(r, backing_off);
      r.due = r.stop.end.at + r.stop.decision.delay;
      r.due_unix_ms =
          effects_.unix_ms() +
          std::max<std::int64_t>(
              0, std::chrono::duration_cast<Milliseconds>(r.due - effects_.now()).count());
      return;
    case Next::stay_down: enter(r, stopped); return;
    case Next::quarantine:
      enter(r, quarantined);
      reports_.quarantined(r);
      return;
    case Next::start:
      if (r.next) {
        install_next(r, true);
        start(r, Cause::replaced);
      } else {
        start(r, r.stop.cause);
      }
      return;
    case Next::roll_back:
      r.rejected = r.current->file.hash;
      discard(r, r.current);
      use_image(r, std::move(r.previous));
      start(r, Cause::rolled_back);
      return;
    case Next::reload:
      discard_all(r);
      enter(r, found);
      return;
    case Next::disable:
    case Next::remove: take_down(r, r.stop.next, {}); return;
  }
}

// Stops the plugin for good (disable, remove), from any state.
void PluginSupervisor::take_down(PluginRecord& r, Next next, std::string_view why) {
  if (r.state() == running) return begin_stop(r, next, why);
  if (r.state() == stopping && r.group != 0) {
    r.stop.next = next;
    return;
  }
  r.ticket = 0;
  discard_all(r);
  r.needs_missing = r.waits_for_need = false;
  r.refusal.clear();
  enter(r, next == Next::remove ? removed : disabled);
  if (next == Next::remove) {
    reports_.removed(r);
  } else {
    reports_.disabled(r);
  }
}

// Erases the records of removed plugins and gives their names to files that were refused for having
// the same. True when there were any.
bool PluginSupervisor::drop_removed() {
  std::vector<std::string> names;
  for (const auto& [name, r] : plugins_) {
    if (r.state() != removed) continue;
    names.push_back(name);
    effects_.close_account(r.account);
  }
  for (const std::string& name : names) {
    plugins_.erase(name);
    readopt_duplicate(name);
  }
  return !names.empty();
}

void PluginSupervisor::shut_down() {
  if (shutdown_) return;
  const SteadyTime now = effects_.now();
  shutdown_ = Shutdown{.deadline = now + Milliseconds(config_.runtime.shutdown_ms),
                       .next_ask = now,
                       .last_asked = {}};
  for (auto& [name, r] : plugins_) {
    r.ticket = 0;
    answer_waiting(r, false);
    if (r.state() == found || r.state() == loading || r.state() == backing_off) enter(r, stopped);
    if (r.state() == stopping && r.stop.phase == Stop::Phase::draining)
      r.stop.deadline = std::min(r.stop.deadline, shutdown_->deadline);
  }
  advance();
}

void PluginSupervisor::kill_all() {
  shut_down();
  const SteadyTime now = effects_.now();
  shutdown_->deadline = now;
  for (auto& [name, r] : plugins_) {
    if (r.state() == stopping && r.stop.phase == Stop::Phase::draining) r.stop.deadline = now;
  }
  advance();
}

// Asks the plugin that started last, waits for its end, goes on to the one before. One that takes
// more than its share of the time does not take the others' as well.
void PluginSupervisor::step_shutdown() {
  const SteadyTime now = effects_.now();
  for (;;) {
    PluginRecord* youngest = nullptr;
    long left = 0;
    for (auto& [name, r] : plugins_) {
      if (r.state() != running) continue;
      ++left;
      if (!youngest || r.start_order > youngest->start_order) youngest = &r;
    }
    if (!youngest) return;
    const bool over = now >= shutdown_->deadline;
    const PluginRecord* last = find(shutdown_->last_asked);
    if (!over && last && has_actors(last->state()) && now < shutdown_->next_ask) return;
    begin_stop(*youngest, Next::stay_down, "the daemon is shutting down");
    shutdown_->last_asked = youngest->name;
    shutdown_->next_ask = now + (shutdown_->deadline - now) / left;
    if (over) step_stop(*youngest);
  }
}

bool PluginSupervisor::finished() const {
  return shutdown_ && std::ranges::none_of(plugins_, [](const auto& entry) {
           return has_actors(entry.second.state());
         });
}

std::vector<std::string> PluginSupervisor::stuck() const {
  std::vector<std::string> names;
  for (const auto& [name, r] : plugins_) {
    if (r.current && r.current->pinned) names.push_back(name);
  }
  return names;
}

}  // namespace smarmd
