#include "daemon/supervision/plugin_reports.hpp"

#include "daemon/log/events.hpp"

#include <utility>

namespace smarmd {

namespace {

std::string_view event_of(Cause cause) {
  switch (cause) {
    case Cause::first: return events::kPluginStarted;
    case Cause::restarted:
    case Cause::by_hand:
    case Cause::reconfigured: return events::kPluginRestarted;
    case Cause::revived: return events::kPluginRevived;
    case Cause::replaced: return events::kPluginReplaced;
    case Cause::rolled_back: return events::kPluginRolledBack;
  }
  return events::kPluginStarted;
}

std::string seconds_text(Milliseconds ms) {
  if (ms.count() % 1000 == 0) return std::to_string(ms.count() / 1000) + " s";
  return std::to_string(ms.count()) + " ms";
}

std::string quoted_reason(const EndReport& end) {
  if (end.kind == EndKind::exit) return "it ended by itself";
  if (end.kind == EndKind::killed) return "it was killed";
  if (end.kind == EndKind::stopped) return "it was asked to stop";
  return end.type.empty() ? end.reason : end.reason + " (" + end.type + ")";
}

// "restart 2 of 5 within 60 s"
std::string count_text(const PluginRecord& r) {
  return "restart " + std::to_string(r.stop.decision.in_window) + " of " +
         std::to_string(r.policy.max_restarts) + " within " + std::to_string(r.policy.window_s) +
         " s";
}

std::string start_text(const PluginRecord& r) {
  std::string head = r.name + " " + r.info.version;
  const std::string to = "pid " + r.root.to_string();
  const std::string from_to = "pid " + r.last_root.to_string() + " -> " + r.root.to_string();
  const std::string generation = "generation " + std::to_string(r.current->file.generation);
  switch (r.cause) {
    case Cause::first: return head + " started, " + to;
    case Cause::restarted:
      return r.name + " restarted, " + from_to + ", after: " + quoted_reason(r.stop.end) + "; " +
             count_text(r);
    case Cause::by_hand: return r.name + " restarted by hand, " + from_to;
    case Cause::reconfigured: return r.name + " restarted with its new configuration, " + from_to;
    case Cause::revived: return r.name + " revived, " + from_to;
    case Cause::replaced:
      return head + " replaces the image before, " + generation + ", " + from_to;
    case Cause::rolled_back:
      return r.name + " is back at the image before, " + generation + ", " + from_to +
             ": the new one failed early: " + quoted_reason(r.stop.end);
  }
  return head;
}

std::string end_text(const PluginRecord& r) {
  const EndReport& end = r.stop.end;
  std::string text = r.name;
  switch (end.kind) {
    case EndKind::exit: text += " ended by itself"; break;
    case EndKind::panic: text += " panicked: " + quoted_reason(end); break;
    case EndKind::killed: text += " was killed"; break;
    case EndKind::stopped: return text + " stopped";
  }
  switch (r.stop.next) {
    case Next::back_off:
      return text + "; " + count_text(r) + " follows in " +
             std::to_string(r.stop.decision.delay.count()) + " ms";
    case Next::stay_down:
      return text + "; it stays down (restart: " + std::string(name_of(r.policy.restart)) + ")";
    case Next::roll_back: return text + "; the image before comes back";
    default: return text;
  }
}

void add_end(Fields& fields, const EndReport& end) {
  fields.emplace_back("end", std::string(to_string(end.kind)));
  fields.emplace_back("reason", quoted_reason(end));
  if (!end.type.empty()) fields.emplace_back("type", end.type);
  if (!end.backtrace.none()) fields.emplace_back("backtrace", end.backtrace);
}

void add_decision(Fields& fields, const PluginRecord& r) {
  fields.emplace_back("restarts", r.stop.decision.in_window);
  fields.emplace_back("max_restarts", r.policy.max_restarts);
  fields.emplace_back("delay_ms", r.stop.decision.delay.count());
}

}  // namespace

void PluginReports::log(Level level, std::string_view event, const PluginRecord& r,
                        std::string text, Fields more) {
  Fields fields{{"plugin", r.name}, {"file", r.file.native()}};
  for (Field& f : more) fields.push_back(std::move(f));
  effects_.log(level, event, std::move(text), std::move(fields));
}

void PluginReports::found(const PluginRecord& r) {
  log(Level::info, events::kPluginFound, r,
      r.name + " " + r.info.version + " found: " + r.file.native(), {{"version", r.info.version}});
}

void PluginReports::started(const PluginRecord& r) {
  Fields fields{{"actor", r.root.to_string()},
                {"pid_new", r.root.to_string()},
                {"generation", r.current->file.generation}};
  if (r.last_root != smarm::ROOT_PID) fields.emplace_back("pid_old", r.last_root.to_string());
  if (r.cause == Cause::restarted || r.cause == Cause::rolled_back) {
    add_end(fields, r.stop.end);
    add_decision(fields, r);
  }
  if (r.cause == Cause::by_hand) fields.emplace_back("reason", "restarted by hand");
  if (r.cause == Cause::reconfigured) fields.emplace_back("reason", "its configuration changed");
  fields.emplace_back("restarts_total", r.restarts);
  const bool trouble = r.cause == Cause::restarted || r.cause == Cause::rolled_back;
  log(trouble ? Level::warn : Level::info, event_of(r.cause), r, start_text(r), std::move(fields));
}

void PluginReports::ended(const PluginRecord& r) {
  const EndReport& end = r.stop.end;
  const auto lived = std::chrono::duration_cast<Milliseconds>(end.at - r.born);
  Fields fields{{"actor", end.pid.to_string()},
                {"lived_ms", lived.count()},
                {"generation", r.current->file.generation}};
  add_end(fields, end);
  if (r.stop.next == Next::back_off) add_decision(fields, r);
  if (end.kind == EndKind::stopped)
    return log(Level::info, events::kPluginStopped, r, end_text(r), std::move(fields));
  if (end.kind == EndKind::exit)
    return log(Level::info, events::kPluginEnded, r, end_text(r), std::move(fields));
  log(Level::error, events::kPluginPanicked, r, end_text(r), std::move(fields));
}

void PluginReports::quarantined(const PluginRecord& r) {
  const EndReport& end = r.stop.end;
  Fields fields{{"actor", end.pid.to_string()}, {"generation", r.current->file.generation}};
  add_end(fields, end);
  fields.emplace_back("restarts", r.stop.decision.in_window);
  fields.emplace_back("max_restarts", r.policy.max_restarts);
  fields.emplace_back("window_s", r.policy.window_s);
  const std::string used = std::to_string(r.stop.decision.in_window) + " restart" +
                           (r.stop.decision.in_window == 1 ? "" : "s");
  log(Level::error, events::kPluginQuarantined, r,
      r.name + " is quarantined: " + used + " within " +
          seconds_text(std::chrono::seconds(r.policy.window_s)) +
          " did not help; the last end: " + quoted_reason(end) +
          "; mend it, then `smarmctl revive " + r.name + "` or install a new file",
      std::move(fields));
}

void PluginReports::stopping(const PluginRecord& r, std::string_view why) {
  log(Level::info, events::kPluginStopping, r, r.name + " is asked to stop: " + std::string(why),
      {{"actor", r.root.to_string()}, {"reason", why}});
}

void PluginReports::overran(const PluginRecord& r) {
  log(Level::warn, events::kPluginStopping, r,
      r.name + " did not stop in its time and is killed; let its main watch Context::stopping()",
      {{"actor", r.root.to_string()}, {"reason", "the time to stop is over"}});
}

void PluginReports::stuck(const PluginRecord& r, std::size_t actors) {
  log(Level::error, events::kDaemonStuck, r,
      std::to_string(actors) + " actor" + (actors == 1 ? "" : "s") + " of " + r.name +
          " did not end when killed; the image stays mapped. A loop without safe-points needs "
          "smarm::check()",
      {{"actor", r.last_root.to_string()},
       {"actors", actors},
       {"generation", r.current->file.generation}});
}

void PluginReports::refused(const PluginRecord& r, std::string_view reason) {
  std::string text = r.file.native() + ": " + std::string(reason);
  if (r.current && r.state() != PluginState::refused) {
    text += "; " + r.name + " keeps its image, generation " +
            std::to_string(r.current->file.generation);
  }
  log(Level::error, events::kPluginRefused, r, std::move(text), {{"reason", reason}});
}

void PluginReports::file_refused(const std::filesystem::path& file, std::string_view plugin,
                                 std::string_view reason) {
  Fields fields{{"file", file.native()}, {"reason", reason}};
  if (!plugin.empty()) fields.emplace_back("plugin", plugin);
  effects_.log(Level::error, events::kPluginRefused, file.native() + ": " + std::string(reason),
               std::move(fields));
}

void PluginReports::file_warning(const PluginRecord& r, std::string_view warning) {
  log(Level::warn, events::kPluginFound, r, r.file.native() + ": " + std::string(warning),
      {{"reason", warning}});
}

void PluginReports::disabled(const PluginRecord& r) {
  log(Level::info, events::kPluginDisabled, r,
      r.name + " is disabled by /plugins/overrides/" + r.name + "/enabled", {});
}

void PluginReports::removed(const PluginRecord& r) {
  log(Level::info, events::kPluginRemoved, r, r.name + " is gone: its file was removed",
      {{"actor", r.last_root.to_string()}});
}

void PluginReports::resident(std::string_view plugin, const LoadedImage& image,
                             std::string_view why) {
  effects_.log(Level::info, events::kPluginResident,
               std::string(plugin) + ": image generation " + std::to_string(image.file.generation) +
                   " stays mapped: " + std::string(why),
               {{"plugin", plugin},
                {"file", image.file.source.native()},
                {"generation", image.file.generation},
                {"reason", why}});
}

PluginSnapshot snapshot_of(const PluginRecord& r, std::uint64_t actors) {
  PluginSnapshot s;
  s.name = r.name;
  s.version = r.info.version;
  s.description = r.info.description;
  s.file = r.file.native();
  s.state = to_string(r.state());
  if (r.root != smarm::ROOT_PID) s.pid = r.root.to_string();
  s.restarts = r.restarts;
  s.restarts_in_window = r.budget.in_window();
  s.since_ms = r.since_ms;
  s.last_reason = r.reason();
  s.last_backtrace = r.last_backtrace;
  if (r.state() == PluginState::backing_off) s.next_start_ms = r.due_unix_ms;
  s.generation = r.current ? r.current->file.generation : 0;
  s.resident_images = r.resident;
  s.actors = actors;
  s.policy = {std::string(name_of(r.policy.restart)),
              r.policy.max_restarts,
              r.policy.window_s,
              r.policy.backoff.min_ms,
              r.policy.backoff.max_ms,
              r.policy.mailbox_limit};
  return s;
}

PluginSnapshot snapshot_of(const std::filesystem::path& file, const FileEntry& entry) {
  PluginSnapshot s;
  s.name = file.stem().native();
  s.only_file = true;
  if (entry.info) {
    s.version = entry.info->version;
    s.description = entry.info->description;
  }
  s.file = file.native();
  s.state = to_string(PluginState::refused);
  s.since_ms = entry.since_ms;
  s.last_reason = entry.problem;
  return s;
}

}  // namespace smarmd
