#include "daemon/ctl/render.hpp"

#include <algorithm>

namespace smarmd {
namespace {

using nlohmann::json;

constexpr std::size_t kReasonWidth = 60;

const json& at(const json& object, const char* key) {
  static const json kNothing;
  if (!object.is_object()) return kNothing;
  const auto it = object.find(key);
  return it == object.end() ? kNothing : *it;
}

std::string text_of(const json& object, const char* key) {
  const json& value = at(object, key);
  return value.is_string() ? value.get<std::string>() : value.is_null() ? "" : value.dump();
}

std::int64_t number_of(const json& object, const char* key) {
  const json& value = at(object, key);
  return value.is_number() ? value.get<std::int64_t>() : 0;
}

std::string count_of(const json& object, const char* key) {
  return std::to_string(number_of(object, key));
}

std::string ago(std::int64_t then_ms, std::int64_t now_ms) {
  return then_ms > 0 ? render_duration(std::max<std::int64_t>(0, now_ms - then_ms)) : "";
}

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return !continues_character(c); }));
}

std::string list_of(const json& array, std::string_view separator) {
  std::string out;
  if (!array.is_array()) return out;
  for (const json& item : array) {
    if (!out.empty()) out += separator;
    out += render_words(item.is_string() ? item.get<std::string>() : item.dump());
  }
  return out;
}

std::string render_states(const json& plugins) {
  std::string out = count_of(plugins, "total");
  const json& by_state = at(plugins, "by_state");
  std::string parts;
  if (by_state.is_object()) {
    for (const auto& [state, count] : by_state.items())
      parts += (parts.empty() ? ": " : ", ") + count.dump() + " " + state;
  }
  return out + parts;
}

std::string render_workers(const json& workers) {
  if (!workers.is_array() || workers.empty()) return "";
  std::vector<std::vector<std::string>> rows = {
      {"WORKER", "RESUMES", "PARKS", "YIELDS", "PREEMPTED", "STEALS", "WAKES", "IDLE"}};
  for (std::size_t i = 0; i < workers.size(); ++i) {
    const json& w = workers[i];
    const auto count = [&](const char* key) { return count_of(w, key); };
    rows.push_back(
        {std::to_string(i), count("resumes"), count("parks"), count("yields"),
         std::to_string(number_of(w, "preempted_alloc") + number_of(w, "preempted_async")),
         count("steals"), count("wakes"), render_duration(number_of(w, "idle_ns") / 1'000'000)});
  }
  return "\n" + render_table(rows);
}

std::string render_status(const json& r, std::int64_t now_ms) {
  std::string reload = number_of(r, "last_reload_ms")
                           ? " (reloaded " + ago(number_of(r, "last_reload_ms"), now_ms) + " ago)"
                           : "";
  if (!text_of(r, "last_reload_error").empty())
    reload += "; the last reload failed: " + render_words(text_of(r, "last_reload_error"));
  const std::string config =
      text_of(r, "config_file").empty() ? "built-in defaults" : text_of(r, "config_file");
  const std::string metrics = text_of(r, "metrics_listen").empty()
                                  ? "off"
                                  : "http://" + text_of(r, "metrics_listen") + "/metrics";
  const std::size_t workers = at(r, "workers").is_array() ? at(r, "workers").size() : 0;
  std::int64_t asleep = 0;  // frozen by one worker, thawed by another: only the sum means something
  if (workers)
    for (const json& w : at(r, "workers"))
      asleep += number_of(w, "hibernated") - number_of(w, "thawed");
  const std::int64_t lost = number_of(r, "log_lost");
  const std::vector<std::vector<std::string>> rows = {
      {"config", config + reload},
      {"plugins", render_states(at(r, "plugins"))},
      {"directories", list_of(at(r, "plugin_directories"), ", ")},
      {"actors",
       count_of(r, "actors") + " on " + std::to_string(workers) + " workers (" +
           text_of(r, "io_backend") + ")" +
           (number_of(r, "blocked_workers") > 0
                ? ", " + count_of(r, "blocked_workers") + " of them blocked"
                : "") +
           (number_of(r, "extra_workers") > 0 ? ", " + count_of(r, "extra_workers") + " extra"
                                              : "") +
           (asleep > 0 ? ", " + std::to_string(asleep) + " hibernate" : "")},
      {"blocking", count_of(r, "blocking_threads") + " of " +
                       count_of(r, "blocking_threads_limit") + " threads, " +
                       count_of(r, "blocking_threads_idle") + " idle, " +
                       count_of(r, "blocking_jobs_queued") + " jobs queued"},
      {"restarts", count_of(r, "restarts")},
      {"metrics", metrics},
      {"log", text_of(r, "log_level") + " as " + text_of(r, "log_format") +
                  (lost ? "; " + std::to_string(lost) + " records lost" : "")},
  };
  const std::string head = "smarmd " + text_of(r, "version") + " is " + text_of(r, "state") +
                           ", pid " + count_of(r, "pid") + ", up " +
                           ago(number_of(r, "started_ms"), now_ms) + "\n";
  return head + render_table(rows) + render_workers(at(r, "workers"));
}

std::string render_plugins(const json& r, std::int64_t now_ms) {
  const json& plugins = at(r, "plugins");
  if (!plugins.is_array() || plugins.empty())
    return "no plugins: copy a .so into the plugin directory (`smarmctl status` names it)\n";
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "VERSION", "STATE", "SINCE", "PID", "ACTORS", "RESTARTS", "LAST REASON"}};
  for (const json& p : plugins) {
    rows.push_back({render_words(text_of(p, "name")), render_words(text_of(p, "version")),
                    text_of(p, "state"), ago(number_of(p, "since_ms"), now_ms), text_of(p, "pid"),
                    count_of(p, "actors"), count_of(p, "restarts"),
                    render_words(text_of(p, "last_reason"), kReasonWidth)});
  }
  return render_table(rows);
}

std::string render_policy(const json& policy) {
  const json& backoff = at(policy, "backoff_ms");
  const std::string range =
      backoff.is_array() && backoff.size() == 2
          ? ", back-off " + backoff[0].dump() + " to " + backoff[1].dump() + " ms"
          : "";
  return text_of(policy, "restart") + ", at most " + count_of(policy, "max_restarts") +
         " restarts in " + count_of(policy, "window_s") + " s" + range;
}

std::string render_mailboxes(const json& p) {
  const std::int64_t limit = number_of(at(p, "policy"), "mailbox_limit");
  const std::int64_t refused = number_of(p, "mailbox_refused");
  return "the fullest has " + count_of(p, "mailbox_depth_max") + " messages, " +
         (limit ? "limit " + std::to_string(limit) : "no limit") +
         (refused ? ", " + std::to_string(refused) + " refused" : "");
}

std::string indent_lines(const std::string& text) {
  std::string out;
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    out += "  " + render_words(text.substr(start, end - start)) + "\n";
    start = end + 1;
  }
  return out;
}

std::string render_plugin(const json& p, std::int64_t now_ms) {
  std::vector<std::vector<std::string>> rows = {
      {"name", render_words(text_of(p, "name"))},
      {"version", render_words(text_of(p, "version"))},
      {"about", render_words(text_of(p, "description"))},
      {"file", render_words(text_of(p, "file"))},
      {"state", text_of(p, "state") + " for " + ago(number_of(p, "since_ms"), now_ms)},
      {"pid", text_of(p, "pid")},
      {"actors", count_of(p, "actors")},
      {"preempted", count_of(p, "preempted_alloc") + " times at allocations, " +
                        count_of(p, "preempted_async") + " by signal"},
      {"blocked", count_of(p, "blocked") + " times a thread, in a system call"},
      {"blocking", count_of(p, "blocking_jobs_running") + " jobs run, " +
                       count_of(p, "blocking_jobs_queued") + " queued, " +
                       count_of(p, "blocking_jobs_total") + " done"},
      {"mailboxes", render_mailboxes(p)},
      {"restarts",
       count_of(p, "restarts") + " (" + count_of(p, "restarts_in_window") + " in the window)"},
      {"policy", render_policy(at(p, "policy"))},
      {"image", "generation " + count_of(p, "generation") + ", " + count_of(p, "resident_images") +
                    " older ones resident"},
  };
  if (number_of(p, "next_start_ms") > 0)
    rows.push_back({"next start", "in " + render_duration(std::max<std::int64_t>(
                                              0, number_of(p, "next_start_ms") - now_ms))});
  if (!text_of(p, "last_reason").empty())
    rows.push_back({"last reason", render_words(text_of(p, "last_reason"))});
  std::string out = render_table(rows);
  if (const std::string trace = text_of(p, "last_backtrace"); !trace.empty())
    out += "backtrace\n" + indent_lines(trace);
  return out;
}

std::string render_reload(const json& r) {
  const json& applied = at(r, "applied");
  const json& later = at(r, "needs_restart");
  std::string out = applied.is_array() && !applied.empty()
                        ? "reloaded: " + list_of(applied, ", ") + "\n"
                        : "reloaded: nothing to change at once\n";
  if (later.is_array() && !later.empty())
    out += "needs a restart of smarmd: " + list_of(later, ", ") + "\n";
  return out;
}

}  // namespace

std::string render_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += row[i] + std::string(widths[i] - width_of(row[i]) + 2, ' ');
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string render_duration(std::int64_t ms) {
  const auto two = [](std::int64_t a, const char* unit_a, std::int64_t b, const char* unit_b) {
    return std::to_string(a) + unit_a + " " + std::to_string(b) + unit_b;
  };
  if (ms < 1000) return std::to_string(ms) + " ms";
  const std::int64_t s = ms / 1000;
  if (s < 60) return std::to_string(s) + "s";
  if (s < 3600) return two(s / 60, "m", s % 60, "s");
  if (s < 86400) return two(s / 3600, "h", s / 60 % 60, "m");
  return two(s / 86400, "d", s / 3600 % 24, "h");
}

std::string render_words(std::string_view text, std::size_t limit) {
  std::string out;
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!continues_character(c) && ++characters > limit) return out + "...";
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0xC2 && i + 1 < text.size() &&
        static_cast<unsigned char>(text[i + 1]) <
            0xA0) {  // U+0080 to U+009F: control characters too
      out += '?';
      ++i;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += c == '\n' || c == '\t' ? ' ' : '?';
    } else {
      out += c;
    }
  }
  return out;
}

std::string render_result(std::string_view command, const json& result, std::int64_t now_ms) {
  if (command == "status") return render_status(result, now_ms);
  if (command == "plugins") return render_plugins(result, now_ms);
  if (command == "plugin") return render_plugin(result, now_ms);
  if (command == "reload") return render_reload(result);
  if (command == "version")
    return "smarmd " + text_of(result, "smarmd") + " (pid " + count_of(result, "pid") + ")\n";
  return render_words(text_of(result, "message")) + "\n";
}

std::string render_error(const json& error) {
  std::string out = "smarmctl: " + render_words(text_of(error, "message")) + "\n";
  if (const json& details = at(error, "details"); details.is_array()) {
    for (const json& detail : details)
      out += "  " + render_words(detail.is_string() ? detail.get<std::string>() : detail.dump()) +
             "\n";
  }
  if (const std::string hint = text_of(error, "hint"); !hint.empty())
    out += "  " + render_words(hint) + "\n";
  return out;
}

}  // namespace smarmd
