// Lives: how they begin, end, begin again; the operator's commands. Files and images are in
// plugin_catalogue.cpp, stops and the shutdown in plugin_stop.cpp.
#include "daemon/supervision/plugin_supervisor.hpp"

#include "daemon/control/backend.hpp"
#include "daemon/control/protocol.hpp"
#include "daemon/supervision/symbolise.hpp"

#include <algorithm>
#include <utility>

namespace smarmd {

using enum PluginState;

namespace {

// A window shorter than the probation would let a plugin use up its restarts before it counts as
// failed.
Milliseconds probation_of(const PluginRecord& r) {
  return std::min(rules_of(r.policy).window, kProbation);
}

}  // namespace

PluginSupervisor::PluginSupervisor(Config config, SupervisorEffects& effects)
    : config_(std::move(config)), effects_(effects), reports_(effects) {}

PluginRecord* PluginSupervisor::find(std::string_view name) {
  const auto it = plugins_.find(name);
  return it == plugins_.end() ? nullptr : &it->second;
}

const PluginRecord* PluginSupervisor::find(std::string_view name) const {
  const auto it = plugins_.find(name);
  return it == plugins_.end() ? nullptr : &it->second;
}

void PluginSupervisor::enter(PluginRecord& r, PluginState state) {
  r.life.enter(state);
  r.since_ms = effects_.unix_ms();
  switch (state) {
    case stopped:
    case quarantined:
    case refused:
    case disabled:
    case removed: answer_waiting(r, false); break;
    default: break;
  }
}

void PluginSupervisor::answer_waiting(PluginRecord& r, bool up) {
  for (const Waiting& w : std::exchange(r.waiting, {})) {
    if (up) {
      PluginSnapshot shown = snapshot_of(r, effects_.actors_of(r.group));
      shown.last_backtrace = shown.last_backtrace.if_made();  // the answer is written here
      const std::string change = w.before == smarm::ROOT_PID ? "pid " + r.root.to_string()
                                                             : "pid " + w.before.to_string() +
                                                                   " is now " + r.root.to_string();
      w.reply.ok(action_result(shown, "restarted " + r.name + ": " + change));
    } else if (shutdown_) {
      w.reply.fail(codes::kStopping, "the daemon is shutting down");
    } else {
      const std::string why = r.reason().empty() ? "" : ": " + r.reason();
      w.reply.fail(codes::kFailed,
                   r.name + " did not come up, it is " + std::string(to_string(r.state())) + why);
    }
  }
}

void PluginSupervisor::start(PluginRecord& r, Cause cause) {
  enter(r, running);
  r.cause = cause;
  if (cause == Cause::restarted) ++r.restarts;
  r.group = ++last_group_;
  r.start_order = ++last_start_;
  r.born = effects_.now();
  const auto pid = effects_.start({.plugin = r.name,
                                   .image = r.current,
                                   .group = r.group,
                                   .account = r.account,
                                   .config = r.policy.config,
                                   .mailbox_limit = r.policy.mailbox_limit});
  if (!pid) {
    ended(r, {.kind = EndKind::panic,
              .pid = {},
              .reason = "cannot start: " + pid.error(),
              .type = {},
              .backtrace = {},
              .at = r.born});
    reap(r);
    return;
  }
  r.root = *pid;
  roots_.insert_or_assign(r.root, r.name);
  reports_.started(r);
  r.last_root = r.root;
  answer_waiting(r, true);
}

void PluginSupervisor::signalled(const smarm::Signal& signal) {
  if (std::holds_alternative<smarm::Timeout>(signal)) return;  // its end follows
  const auto root = roots_.find(smarm::pid_of(signal));
  if (root == roots_.end())
    return;  // an actor that was put under the supervisor by somebody else, or one that was given
             // up
  PluginRecord* r = find(root->second);
  EndReport end{.kind = EndKind::exit,
                .pid = root->first,
                .reason = {},
                .type = {},
                .backtrace = {},
                .at = effects_.now()};
  roots_.erase(root);
  if (const auto* panic = std::get_if<smarm::Panic>(&signal)) {
    end.kind = panic->type.empty() && panic->reason == "killed" ? EndKind::killed : EndKind::panic;
    end.reason = panic->reason;
    end.type = panic->type;
    end.backtrace = in_words(panic->backtrace);
  }
  ended(*r, std::move(end));
  reap(*r);
  advance();
}

// The root actor is no more: decides what follows. The life itself is over when its last actor is
// (finish_stop).
void PluginSupervisor::ended(PluginRecord& r, EndReport end) {
  if (r.state() == running) {
    enter(r, stopping);
    r.stop = Stop{};
  }
  const bool asked = r.stop.asked;
  if (asked && end.kind != EndKind::panic) end.kind = EndKind::stopped;
  r.root = {};
  if (!asked) r.stop.next = next_after(r, end);
  r.stop.end = std::move(end);
  if (r.stop.end.kind == EndKind::exit) r.last_reason = "it ended by itself";
  if (r.stop.end.kind == EndKind::panic || r.stop.end.kind == EndKind::killed)
    r.last_reason = r.stop.end.reason;
  if (!r.stop.end.backtrace.none()) r.last_backtrace = r.stop.end.backtrace;
}

Next PluginSupervisor::next_after(PluginRecord& r, const EndReport& end) {
  const RestartRules rules = rules_of(r.policy);
  const bool failed = end.kind == EndKind::panic || end.kind == EndKind::killed ||
                      rules.type == RestartType::permanent;
  if (r.on_probation() && failed && end.at - r.born < probation_of(r)) return Next::roll_back;
  r.stop.decision = r.budget.on_end(rules, end.kind, r.born, end.at, effects_.random());
  switch (r.stop.decision.verdict) {
    case Verdict::restart: return Next::back_off;
    case Verdict::quarantine: return Next::quarantine;
    case Verdict::stay_down: break;
  }
  return Next::stay_down;
}

void PluginSupervisor::restart(const std::string& plugin, Reply reply) {
  PluginRecord* r = find(plugin);
  if (refuse_command(plugin, r, reply)) return;
  switch (r->state()) {
    case running:
      r->waiting.push_back({std::move(reply), r->root});
      begin_stop(*r, Next::start, "restart by hand");
      break;
    case stopping:
      if (r->stop.next == Next::remove || r->stop.next == Next::disable) {
        reply.fail(codes::kRefused, plugin + " is stopping for good");
        return;
      }
      if (r->stop.next == Next::back_off || r->stop.next == Next::stay_down ||
          r->stop.next == Next::quarantine) {
        r->stop.next = Next::start;
        r->stop.cause = Cause::by_hand;
      }
      r->waiting.push_back({std::move(reply), r->last_root});
      break;
    case backing_off:
    case stopped:
      r->waiting.push_back({std::move(reply), r->last_root});
      start(*r, Cause::by_hand);
      break;
    case refused:
      r->waiting.push_back({std::move(reply), r->last_root});
      enter(*r, found);
      break;
    case loading: r->waiting.push_back({std::move(reply), r->last_root}); break;
    case quarantined:
      reply.fail(codes::kRefused, plugin + " is quarantined: " + r->last_reason,
                 "run `smarmctl revive " + plugin + "`");
      return;
    case disabled:
      reply.fail(codes::kRefused, plugin + " is disabled",
                 "set /plugins/overrides/" + plugin + "/enabled to true and run `smarmctl reload`");
      return;
    case found:
      reply.fail(codes::kRefused, plugin + " waits for the plugins it needs",
                 "see `smarmctl plugins`");
      return;
    case removed: reply.fail(codes::kRefused, plugin + " is gone"); return;
  }
  advance();
}

void PluginSupervisor::revive(const std::string& plugin, Reply reply) {
  PluginRecord* r = find(plugin);
  if (refuse_command(plugin, r, reply)) return;
  if (r->state() != quarantined && r->state() != stopped) {
    reply.fail(
        codes::kRefused,
        plugin + " is " + std::string(to_string(r->state())) + ", not quarantined or stopped",
        "`smarmctl restart " + plugin + "` starts a plugin anew");
    return;
  }
  r->budget.reset();
  r->waiting.push_back({std::move(reply), r->last_root});
  start(*r, Cause::revived);
  advance();
}

bool PluginSupervisor::refuse_command(std::string_view name, const PluginRecord* record,
                                      const Reply& reply) const {
  if (shutdown_) {
    reply.fail(codes::kStopping, "the daemon is shutting down");
    return true;
  }
  if (record) return false;
  std::vector<PluginSnapshot> known;
  for (PluginView& view : views()) known.push_back(std::move(view.snapshot));
  const auto file = std::ranges::find(known, name, &PluginSnapshot::name);
  if (file == known.end()) {
    reply.fail(unknown_plugin(name, known));
  } else {
    reply.fail(codes::kRefused, file->file + " is refused: " + file->last_reason, "mend the file");
  }
  return true;
}

void PluginSupervisor::apply(Config config) {
  config_ = std::move(config);
  if (shutdown_) return;
  for (auto& [name, r] : plugins_) {
    const PluginPolicy before = std::exchange(r.policy, config_.policy_for(name, r.info.restart));
    const PluginState state = r.state();
    if (r.group != 0 && r.policy.mailbox_limit != before.mailbox_limit)
      effects_.limit_mailboxes(r.account, r.policy.mailbox_limit);
    const bool leaving = state == stopping && r.stop.next == Next::disable;
    if (!r.policy.enabled) {
      if (state != disabled && !(state == stopping && r.stop.next == Next::remove))
        take_down(r, Next::disable, "it was disabled");
    } else if (state == disabled) {
      enter(r, found);
    } else if (leaving) {
      r.stop.next = Next::reload;
    } else if (state == running && r.policy.config != before.config) {
      begin_stop(r, Next::start, "its configuration changed");
      r.stop.cause = Cause::reconfigured;
    }
  }
  advance();
}

void PluginSupervisor::tick() { advance(); }

void PluginSupervisor::advance() {
  do {
    const SteadyTime now = effects_.now();
    for (auto& [name, r] : plugins_) {
      if (r.state() == stopping) step_stop(r);
      if (r.state() == backing_off && now >= r.due && !shutdown_) start(r, Cause::restarted);
      if (r.state() == running && r.on_probation() && now >= r.born + probation_of(r))
        discard(r, r.previous);
    }
    if (shutdown_) {
      step_shutdown();
    } else {
      schedule();
    }
  } while (drop_removed());
}

std::optional<SteadyTime> PluginSupervisor::next_due() const {
  std::optional<SteadyTime> due;
  const auto take = [&due](SteadyTime t) { due = due ? std::min(*due, t) : t; };
  for (const auto& [name, r] : plugins_) {
    switch (r.state()) {
      case stopping:
        take(r.stop.phase == Stop::Phase::reaping ? std::min(r.stop.poll, r.stop.deadline)
                                                  : r.stop.deadline);
        break;
      case backing_off: take(r.due); break;
      case found:
        if (r.current && !r.waits_for_need) take(r.loaded_at + kOrderPatience);
        break;
      case running:
        if (r.on_probation()) take(r.born + probation_of(r));
        break;
      default: break;
    }
  }
  const auto runs = [](const auto& entry) { return entry.second.state() == running; };
  if (shutdown_ && std::ranges::any_of(plugins_, runs))
    take(std::min(shutdown_->next_ask, shutdown_->deadline));
  return due;
}

bool PluginSupervisor::settled() const {
  return std::ranges::none_of(plugins_, [](const auto& entry) {
    const PluginRecord& r = entry.second;
    return r.ticket != 0 || r.state() == loading || r.state() == stopping ||
           (r.state() == found && !r.waits_for_need);
  });
}

std::vector<PluginView> PluginSupervisor::views() const {
  std::vector<PluginView> all;
  for (const auto& [name, r] : plugins_) all.push_back({snapshot_of(r, 0), r.group, r.account});
  for (const auto& [file, entry] : files_) {
    if (entry.plugin.empty()) all.push_back({snapshot_of(file, entry), 0, 0});
  }
  return all;
}

}  // namespace smarmd
