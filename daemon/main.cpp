#include "daemon/daemon.hpp"
#include "daemon/plugin/elf_info.hpp"
#include "daemon/plugin/probe.hpp"

#include <smarm/smarm.h>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <expected>
#include <string>

namespace {

constexpr int kExitRefused = 1;
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
  0 ok   1 cannot start, or --probe refuses the file   2 wrong usage   4 invalid configuration

Examples
  smarmd --check-config                           is the configuration right?
  smarmd --config my.json --plugins ./plugins     run in the foreground with plugins of your own
  smarmd --probe hello.so                         could a plugin be loaded?
  smarmctl status                                 ask a running smarmd
)";

// What the daemon checks before it loads a file, in the same words. Owners and modes are left out:
// they are the installed file's.
int probe_by_hand(const std::string& file) {
  const auto info = smarmd::plugin::inspect(file);
  const auto tried =
      info ? smarmd::plugin::probe("/proc/self/exe", file) : std::unexpected(info.error());
  if (!tried) {
    std::fprintf(stderr, "%s: %s\n", file.c_str(), tried.error().c_str());
    return kExitRefused;
  }
  std::printf("ok: %s %s\n", info->name.c_str(), info->version.c_str());
  for (const std::string& warning : info->warnings) std::printf("  %s\n", warning.c_str());
  return 0;
}

int run(int argc, char** argv) {
  smarmd::DaemonOptions options;
  std::string config = smarmd::kDefaultConfig, probe, probe_child;
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
  app.add_option("--probe", probe, "Say whether a plugin file could be loaded, and end")
      ->type_name("FILE");
  // How smarmd tries a plugin's static constructors in a child process.
  app.add_option("--probe-child", probe_child)->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kExitUsage;
  }
  if (!probe_child.empty()) return smarmd::plugin::probe_main(probe_child);
  if (!probe.empty()) return probe_by_hand(probe);
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
