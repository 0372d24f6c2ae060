#include "daemon/ctl/cli.hpp"

#include <smarm/smarm.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "daemon/config/suggest.hpp"
#include "daemon/control/protocol.hpp"
#include "daemon/ctl/client.hpp"
#include "daemon/ctl/render.hpp"

namespace smarmd {
namespace {

constexpr const char* kAbout =
    R"(smarmctl asks a running smarmd what it does, and tells it what to do.)";

constexpr const char* kExamples = R"(Examples:
  smarmctl status                    is it well, and how busy?
  smarmctl plugins                   every plugin: state, restarts, last reason
  smarmctl plugin echo               all about one plugin, with its last backtrace
  smarmctl reload                    read the configuration again; waits for the result
  smarmctl restart echo              stop a plugin and start it again
  smarmctl revive echo               give a quarantined plugin a new set of restarts
  smarmctl --json plugins | jq -r '.result.plugins[] | select(.state == "quarantined") | .name'
  smarmctl --socket ./control.sock status

With --json every command prints one document:
  {"v":1,"ok":true,"exit":0,"result":{...},"version":"..."}
  {"v":1,"ok":false,"exit":2,"error":{"code":"...","message":"...","hint":"..."},"version":"..."}

Exit codes: 0 ok, 1 did not work, 2 usage or no such plugin, 3 smarmd unreachable,
4 invalid configuration, 5 valid but needs a restart of smarmd, 6 timeout.
)";

struct Help {
  const char* command;
  const char* about;
  const char* more;
};

constexpr Help kHelp[] = {
    {"status", "Show the daemon: state, plugins by state, actors, workers",
     "The counters of a worker count since the start of the daemon; IDLE is the time it has "
     "slept."},
    {"plugins", "List every plugin with its state, restarts and last reason",
     "For one state only:\n"
     "  smarmctl --json plugins | jq -r '.result.plugins[] | select(.state == \"quarantined\") | "
     ".name'"},
    {"plugin", "Show one plugin with its policy, image and last backtrace",
     "Example: smarmctl plugin echo"},
    {"reload", "Read the configuration again; all of it is applied or nothing",
     "Waits for the result. 4: it is invalid and nothing was changed; each error is named.\n"
     "5: it is applied, but some keys need a restart of smarmd; they are named. 0 in place of 5\n"
     "with --needs-restart-ok."},
    {"restart", "Stop a plugin and start it again", "Example: smarmctl restart echo"},
    {"revive", "Start a quarantined or stopped plugin with a new set of restarts",
     "Example: smarmctl revive crashy"},
    {"version", "Show the versions of smarmctl and smarmd", ""},
};

struct Options {
  std::string socket = "/run/smarmd/control.sock";
  bool json = false;
  double timeout_s = 30;
  bool needs_restart_ok = false;
  std::string plugin;
};

void declare(CLI::App& app, Options& options) {
  app.set_version_flag("--version", "smarmctl " SMARM_VERSION);
  app.add_option("--socket", options.socket, "The daemon's control.socket")
      ->envname("SMARMD_SOCKET")
      ->capture_default_str()
      ->type_name("PATH");
  app.add_flag("--json", options.json, "Print one JSON document");
  app.add_option("--timeout", options.timeout_s, "Wait at most so many seconds")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 600.0))
      ->type_name("SECONDS");
  app.footer(kExamples);
  app.require_subcommand(1);
  app.fallthrough();  // `smarmctl status --json` means the same as `smarmctl --json status`
  for (const Help& help : kHelp) {
    CLI::App* command = app.add_subcommand(help.command, help.about);
    command->footer(std::string(help.more) +
                    "\n--socket, --json and --timeout: see smarmctl --help");
    const CommandInfo* info = find_command(help.command);
    if (info && info->takes_name)
      command->add_option("NAME", options.plugin, "The plugin, as `smarmctl plugins` names it")
          ->required();
    if (command->get_name() == "reload")
      command->add_flag("--needs-restart-ok", options.needs_restart_ok,
                        "End with 0 when some keys need a restart of smarmd");
  }
}

// What to say when the first word is no command: "restrat" -> did you mean "restart"? CLI11 itself
// would only miss a subcommand.
std::string name_unknown_word(int argc, const char* const* argv, const CLI::App& app) {
  for (const std::string& word : app.remaining()) {
    if (word.starts_with('-')) return "there is no option \"" + render_words(word) + "\"";
  }

  int i = 1;
  while (i < argc && argv[i][0] == '-') {
    const std::string_view option = argv[i];
    i += option == "--socket" || option == "--timeout" ? 2 : 1;
  }
  if (i >= argc || find_command(argv[i])) return "";
  std::vector<std::string> names;
  names.reserve(std::size(kHelp));
  for (const Help& help : kHelp) names.emplace_back(help.command);
  const auto best = configuration::nearest(argv[i], names);
  return "there is no command \"" + render_words(argv[i]) + "\"" +
         (best ? ", did you mean \"" + *best + "\"?" : "");
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void name_skew(const nlohmann::json& answer, std::ostream& err) {
  const auto version = answer.find("version");
  if (version == answer.end() || !version->is_string() || *version == SMARM_VERSION) return;
  err << "smarmctl: smarmctl is " SMARM_VERSION " but smarmd is "
      << render_words(version->get<std::string>())
      << ": restart smarmd if it was upgraded, or use the smarmctl that was installed with it\n";
}

int show(const std::string& command, const Options& options, nlohmann::json answer,
         std::ostream& out, std::ostream& err) {
  name_skew(answer, err);
  if (options.json) {
    if (command == "version") answer["smarmctl"] = SMARM_VERSION;
    out << write_line(answer);
  } else if (answer["ok"].get<bool>()) {
    out << render_result(command, answer["result"], now_ms());
  } else {
    err << render_error(answer["error"]);
  }
  const int exit = answer["exit"].get<int>();
  return exit == kExitNeedsRestart && options.needs_restart_ok ? int{kExitOk} : exit;
}

int show_misuse(bool json, std::string message, std::ostream& out, std::ostream& err) {
  nlohmann::json answer = make_error({std::string(codes::kBadRequest),
                                      std::move(message),
                                      "smarmctl --help shows the commands with examples",
                                      {}},
                                     "");
  answer.erase("version");  // the daemon did not speak
  if (json) {
    out << write_line(answer);
  } else {
    err << render_error(answer["error"]);
  }
  return kExitUsage;
}

}  // namespace

int run_smarmctl(int argc, const char* const* argv, std::ostream& out, std::ostream& err) {
  Options options;
  CLI::App app(kAbout, "smarmctl");
  declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help, out, err);
  } catch (const CLI::ParseError& error) {
    const std::string unknown = name_unknown_word(argc, argv, app);
    return show_misuse(std::ranges::count(argv, argv + argc, std::string_view("--json")) > 0,
                       unknown.empty() ? error.what() : unknown, out, err);
  }

  Request request;
  request.command = app.get_subcommands().front()->get_name();
  if (find_command(request.command)->takes_name) request.args["name"] = options.plugin;
  request.timeout = std::chrono::milliseconds(std::llround(options.timeout_s * 1000));
  request.client_version = SMARM_VERSION;
  if (request.command == "version" && !options.json) out << "smarmctl " SMARM_VERSION "\n";
  return show(request.command, options, ask_daemon(options.socket, request), out, err);
}

}  // namespace smarmd
