#include "daemon/daemon.hpp"
#include "daemon/plugin/probe.hpp"

#include <smarm/smarm.h>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <string>

namespace {

constexpr int kExitUsage = 2;

constexpr const char* kAbout =
    R"(smarmd hosts actors: drop a shared object into its plugin directory and its actors run,
preempted, supervised and restarted.)";

constexpr const char* kManual = R"(
Files
  /etc/smarmd/smarmd.json       the configuration; {} is one, every key has a default
  /etc/smarmd/conf.d/*.json     merged over it, in name order
  /usr/lib/smarmd/plugins/*.so  the plugins; new, replaced and removed files act while smarmd runs
  /var/lib/smarmd               private copies of the plugins' images
  /run/smarmd/control.sock      where smarmctl asks

Signals
  SIGHUP            read the configuration again; all of it is applied or nothing
  SIGTERM, SIGINT   stop: every plugin, the last started first, within runtime.shutdown_ms;
                    a second one kills what is left at once

Exit codes
  0 ok   1 cannot start   2 wrong usage   4 invalid configuration

Examples
  smarmd --check-config                           is the configuration right?
  smarmd --config my.json --plugins ./plugins     run in the foreground with plugins of your own
  smarmctl status                                 ask a running smarmd
)";

int run(int argc, char** argv) {
  smarmd::DaemonOptions options;
  std::string config = smarmd::kDefaultConfig, probe;
  std::vector<std::string> plugins;
  bool check = false;
  CLI::App app(kAbout, "smarmd");
  app.footer(kManual);
  app.set_version_flag("--version", "smarmd " SMARM_VERSION);
  app.add_option("--config", config, "The configuration file")
      ->type_name("FILE")
      ->capture_default_str();
  app.add_option("--plugins", plugins,
                 "A plugin directory in place of the configured ones; may be repeated")
      ->type_name("DIR")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("--check-config", check, "Say what is wrong with the configuration, and end");
  // How smarmd tries a plugin's static constructors in a child process.
  app.add_option("--probe", probe)->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kExitUsage;
  }
  if (!probe.empty()) return smarmd::plugin::probe_main(probe);
  options.config_file = config;
  options.plugin_directories.assign(plugins.begin(), plugins.end());
  return check ? smarmd::check_config(options) : smarmd::run_daemon(options);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "smarmd: %s\n", e.what());
    return 1;
  }
}
