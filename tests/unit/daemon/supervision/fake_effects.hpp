// The world of a PluginSupervisor under test: records what it was asked, and lets the test own
// time, chance and the runtime.
#pragma once

#include "daemon/supervision/plugin_supervisor.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace smarmd::fake {

struct Line {
  Level level;
  std::string event, text;
  std::map<std::string, std::string> fields;
};

inline std::string to_text(const FieldValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>) {
          return v;
        } else if constexpr (std::is_same_v<std::decay_t<decltype(v)>, LateText>) {
          return v.text();
        } else {
          return std::to_string(v);
        }
      },
      value);
}

class Effects : public SupervisorEffects {
 public:
  struct Root {
    std::string plugin, config;
    std::uint64_t generation = 0;
    smarm::Pid pid;
    bool asked = false;
  };

  SteadyTime now() override { return now_; }
  std::int64_t unix_ms() override {
    return std::chrono::duration_cast<Milliseconds>(now_.time_since_epoch()).count();
  }
  double random() override { return unit; }
  void load(LoadOrder order) override { loads.push_back(std::move(order)); }
  void unload(std::string plugin, ImagePtr image) override {
    unloads.push_back(plugin + "." + std::to_string(image->file.generation));
  }
  std::expected<smarm::Pid, std::string> start(const RootOrder& order) override {
    if (!start_error.empty()) return std::unexpected(start_error);
    Root root{order.plugin, order.config, order.image->file.generation, smarm::Pid(++last_index, 1),
              false};
    roots[order.group] = root;
    limits[order.account] = order.mailbox_limit;
    accounts[order.group] = order.account;
    actors[order.group] += 1;
    return root.pid;
  }
  void ask_stop(smarm::Pid pid, std::uint64_t group) override {
    CHECK(roots.at(group).pid == pid);
    roots.at(group).asked = true;
    asked.push_back(roots.at(group).plugin);
  }
  void kill(std::uint64_t group) override { killed.push_back(group); }
  std::size_t actors_of(std::uint64_t group) override { return actors[group]; }
  void forget(std::uint64_t group) override {
    CHECK(actors[group] == 0);
    forgotten.push_back(group);
    roots.erase(group);
  }
  void limit_mailboxes(std::uint64_t account, std::uint64_t messages) override {
    limits[account] = messages;
  }
  void close_account(std::uint64_t account) override { closed_accounts.push_back(account); }
  void log(Level level, std::string_view event, std::string text, Fields fields) override {
    Line line{level, std::string(event), std::move(text), {}};
    for (const Field& f : fields) line.fields[f.key] = to_text(f.value);
    lines.push_back(std::move(line));
  }

  SteadyTime now_{std::chrono::hours(1)};
  double unit = 0.0;
  std::string start_error;
  std::uint32_t last_index = 0;
  std::deque<LoadOrder> loads;
  std::vector<std::string> unloads, asked;
  std::vector<std::uint64_t> killed, forgotten;
  std::vector<std::uint64_t> closed_accounts;
  std::map<std::uint64_t, std::uint64_t> limits, accounts;  // by account; by group
  std::map<std::uint64_t, Root> roots;
  std::map<std::uint64_t, std::size_t> actors;
  std::vector<Line> lines;
};

// A supervisor in its world, and the short words that the cases are written in.
class World {
 public:
  explicit World(Config c = {}) : config(std::move(c)), supervisor(config, effects) {}

  static plugin::PluginInfo info(const std::string& name, std::vector<std::string> needs = {}) {
    plugin::PluginInfo i;
    i.name = name;
    i.version = "1.0.0";
    i.needs = std::move(needs);
    return i;
  }
  static FileNews file(const std::string& path, plugin::PluginInfo i) {
    return {.path = path, .gone = false, .info = std::move(i)};
  }
  static FileNews file(const std::string& name) { return file("/p/" + name + ".so", info(name)); }
  static FileNews bad_file(const std::string& path, const std::string& why) {
    return {.path = path, .gone = false, .info = std::unexpected(why)};
  }
  static FileNews gone(const std::string& path) { return {.path = path, .gone = true}; }

  // Answers the oldest load with an image of that content.
  void answer_load(std::uint64_t hash = 1) {
    REQUIRE_FALSE(effects.loads.empty());
    const LoadOrder order = effects.loads.front();
    effects.loads.pop_front();
    if (order.running == hash) return supervisor.loaded({order.plugin, order.ticket, ImagePtr{}});
    auto image = std::make_shared<LoadedImage>();
    image->file.info = infos.contains(order.plugin) ? infos[order.plugin] : info(order.plugin);
    image->file.source = order.file;
    image->file.generation = ++generations[order.plugin];
    image->file.hash = hash;
    supervisor.loaded({order.plugin, order.ticket, std::move(image)});
  }
  void fail_load(const std::string& why) {
    REQUIRE_FALSE(effects.loads.empty());
    const LoadOrder order = effects.loads.front();
    effects.loads.pop_front();
    supervisor.loaded({order.plugin, order.ticket, std::unexpected(why)});
  }
  // Makes plugins of these names run.
  void up(const std::vector<std::string>& names) {
    std::vector<FileNews> files;
    for (const std::string& n : names) files.push_back(file(n));
    supervisor.files_changed(std::move(files));
    while (!effects.loads.empty()) answer_load();
    for (const std::string& n : names) REQUIRE(state(n) == "running");
  }

  // The root actor of the plugin ends; nothing of its group is left but `leftovers`.
  void panic(const std::string& plugin, const std::string& reason = "boom",
             std::size_t leftovers = 0) {
    end(plugin, leftovers,
        [&](smarm::Pid pid) { return smarm::Panic{pid, reason, "std::runtime_error", {}}; });
  }
  void killed(const std::string& plugin) {
    end(plugin, 0, [](smarm::Pid pid) { return smarm::Panic{pid, "killed", "", {}}; });
  }
  void exit(const std::string& plugin, std::size_t leftovers = 0) {
    end(plugin, leftovers, [](smarm::Pid pid) { return smarm::Exit{pid}; });
  }
  template <class Make>
  void end(const std::string& plugin, std::size_t leftovers, Make make) {
    const std::uint64_t group = group_of(plugin);
    effects.actors[group] = leftovers;
    supervisor.signalled(make(effects.roots.at(group).pid));
  }

  void pass(Milliseconds time) {
    effects.now_ += time;
    supervisor.tick();
  }
  // Jumps to the next moment at which something is due.
  void jump() {
    const auto due = supervisor.next_due();
    REQUIRE(due.has_value());
    effects.now_ = std::max(effects.now_, *due);
    supervisor.tick();
  }

  PluginSnapshot shown(const std::string& name) const {
    for (const PluginView& v : supervisor.views()) {
      if (v.snapshot.name == name) return v.snapshot;
    }
    return {};
  }
  std::string state(const std::string& name) const { return shown(name).state; }
  std::uint64_t group_of(const std::string& name) const {
    for (const PluginView& v : supervisor.views()) {
      if (v.snapshot.name == name) return v.group;
    }
    return 0;
  }
  std::vector<Line> logged(std::string_view event) const {
    std::vector<Line> found;
    std::ranges::copy_if(effects.lines, std::back_inserter(found),
                         [&](const Line& l) { return l.event == event; });
    return found;
  }

  Reply reply() {
    return Reply("test", [this](nlohmann::json answer) { answers.push_back(std::move(answer)); });
  }

  Config config;
  Effects effects;
  PluginSupervisor supervisor;
  std::map<std::string, std::uint64_t> generations;
  std::map<std::string, plugin::PluginInfo> infos;
  std::vector<nlohmann::json> answers;
};

}  // namespace smarmd::fake
