#include "daemon/supervision/plugin_supervisor.hpp"

#include "tests/unit/daemon/supervision/fake_effects.hpp"

#include <doctest/doctest.h>

using namespace smarmd;
using namespace std::chrono_literals;
using fake::World;

namespace {

Config with_override(const std::string& name, PluginOverride o) {
  Config c;
  c.plugins.overrides[name] = std::move(o);
  return c;
}

}  // namespace

TEST_CASE("a new file is loaded and started, with its pid and generation in the log") {
  World w;
  w.supervisor.scanned({World::file("echo")});
  CHECK(w.state("echo") == "loading");
  CHECK_FALSE(w.supervisor.settled());
  REQUIRE(w.effects.loads.size() == 1);
  CHECK(w.effects.loads[0].file == "/p/echo.so");
  CHECK_FALSE(w.effects.loads[0].running.has_value());
  w.answer_load();
  CHECK(w.state("echo") == "running");
  CHECK(w.supervisor.settled());
  CHECK_FALSE(w.supervisor.next_due().has_value());
  REQUIRE(w.logged("plugin.started").size() == 1);
  const fake::Line line = w.logged("plugin.started")[0];
  CHECK(line.fields.at("plugin") == "echo");
  CHECK(line.fields.at("actor") == "1.1");
  CHECK(line.fields.at("generation") == "1");
  CHECK(line.fields.at("file") == "/p/echo.so");
  CHECK(w.shown("echo").pid == "1.1");
}

TEST_CASE("plugins start by name although they finish loading in another order") {
  World w;
  w.supervisor.scanned({World::file("b"), World::file("a"), World::file("c")});
  REQUIRE(w.effects.loads.size() == 3);
  CHECK(w.effects.loads[0].plugin == "a");
  std::ranges::reverse(w.effects.loads);
  w.answer_load();
  CHECK(w.state("c") == "found");
  CHECK_FALSE(w.supervisor.settled());
  w.answer_load();
  w.answer_load();
  std::vector<std::string> order;
  for (const auto& l : w.logged("plugin.started")) order.push_back(l.fields.at("plugin"));
  CHECK(order == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("a plugin that hangs in loading holds the later names up for a moment only") {
  World w;
  w.supervisor.scanned({World::file("a"), World::file("b")});
  std::ranges::reverse(w.effects.loads);
  w.answer_load();
  CHECK(w.state("b") == "found");
  CHECK(*w.supervisor.next_due() == w.effects.now_ + kOrderPatience);
  w.jump();
  CHECK(w.state("b") == "running");
  CHECK(w.state("a") == "loading");
}

TEST_CASE(
    "a panic is restarted max_restarts times with growing back-off, then quarantined; the "
    "neighbour keeps its pid") {
  PluginOverride o;
  o.max_restarts = 3;
  World w(with_override("crash", o));
  w.up({"crash", "quiet"});
  const std::string neighbour = w.shown("quiet").pid;
  w.effects.unit = 1.0;
  std::string pid = w.shown("crash").pid;
  for (int i = 1; i <= 3; ++i) {
    w.panic("crash", "boom " + std::to_string(i));
    CHECK(w.state("crash") == "backing_off");
    const fake::Line panicked = w.logged("plugin.panicked").back();
    CHECK(panicked.fields.at("actor") == pid);
    CHECK(panicked.fields.at("reason") == "boom " + std::to_string(i) + " (std::runtime_error)");
    CHECK(panicked.fields.at("type") == "std::runtime_error");
    CHECK(panicked.fields.at("restarts") == std::to_string(i));
    CHECK(panicked.fields.at("delay_ms") == std::to_string(100 << i));
    w.pass(Milliseconds((100 << i) - 1));
    CHECK(w.state("crash") == "backing_off");
    w.pass(1ms);
    CHECK(w.state("crash") == "running");
    const fake::Line restarted = w.logged("plugin.restarted").back();
    CHECK(restarted.fields.at("pid_old") == pid);
    pid = w.shown("crash").pid;
    CHECK(restarted.fields.at("pid_new") == pid);
    CHECK(restarted.fields.at("reason") == "boom " + std::to_string(i) + " (std::runtime_error)");
    CHECK(restarted.fields.at("restarts") == std::to_string(i));
  }
  w.panic("crash", "the last");
  CHECK(w.state("crash") == "quarantined");
  CHECK(w.logged("plugin.restarted").size() == 3);
  REQUIRE(w.logged("plugin.quarantined").size() == 1);
  const fake::Line line = w.logged("plugin.quarantined")[0];
  CHECK(line.fields.at("restarts") == "3");
  CHECK(line.fields.at("reason") == "the last (std::runtime_error)");
  CHECK(w.shown("crash").last_reason == "the last");
  CHECK(w.shown("quiet").pid == neighbour);
  CHECK_FALSE(w.supervisor.next_due().has_value());
}

TEST_CASE(
    "restart types: an end that the policy leaves alone is stopped, and restart by hand brings it "
    "back") {
  PluginOverride o;
  o.restart = RestartType::transient;
  World w(with_override("once", o));
  w.up({"once"});
  w.exit("once");
  CHECK(w.state("once") == "stopped");
  CHECK(w.logged("plugin.ended").size() == 1);
  w.supervisor.restart("once", w.reply());
  CHECK(w.state("once") == "running");
  w.killed("once");
  CHECK(w.state("once") == "backing_off");
}

TEST_CASE("the end is logged with its backtrace and the leftovers are reaped before the restart") {
  World w;
  w.up({"p"});
  const std::uint64_t group = w.group_of("p");
  w.effects.actors[group] = 2;
  const std::vector<void*> frames{reinterpret_cast<void*>(16), reinterpret_cast<void*>(32)};
  w.supervisor.signalled(smarm::Panic{smarm::Pid(1, 1), "boom", "E", frames});
  CHECK(w.state("p") == "stopping");
  REQUIRE(w.logged("plugin.panicked").size() == 1);
  CHECK(w.logged("plugin.panicked")[0].fields.at("backtrace") == "#0 0x10\n#1 0x20");
  CHECK(w.effects.killed == std::vector<std::uint64_t>{group});
  w.pass(500ms);
  CHECK(w.state("p") == "stopping");  // the delay is over, the leftovers are not
  w.effects.actors[group] = 0;
  w.jump();
  CHECK(w.effects.forgotten == std::vector<std::uint64_t>{group});
  CHECK(w.state("p") == "running");
  CHECK(w.logged("plugin.restarted")[0].fields.at("backtrace") == "#0 0x10\n#1 0x20");
  CHECK(w.shown("p").last_backtrace.text() == "#0 0x10\n#1 0x20");
}

TEST_CASE("leftovers that ignore the kill are given up, named, and pin the image") {
  World w;
  w.up({"p"});
  w.panic("p", "boom", 3);
  w.pass(kKillGrace);
  CHECK(w.state("p") == "running");
  REQUIRE(w.logged("daemon.stuck").size() == 1);
  CHECK(w.logged("daemon.stuck")[0].fields.at("actors") == "3");
  CHECK(w.supervisor.stuck() == std::vector<std::string>{"p"});
  w.supervisor.files_changed({World::gone("/p/p.so")});
  w.exit("p");
  CHECK(w.state("p") == "");
  CHECK(w.effects.unloads.empty());
  CHECK(w.logged("plugin.resident").size() == 1);
}

TEST_CASE("a root that cannot be spawned counts as a failure and is tried again") {
  World w;
  w.up({"a"});
  w.effects.start_error = "the limit of stacks is reached";
  w.panic("a");
  w.jump();
  CHECK(w.state("a") == "backing_off");
  CHECK(w.shown("a").last_reason == "cannot start: the limit of stacks is reached");
  w.effects.start_error.clear();
  w.jump();
  CHECK(w.state("a") == "running");
}

TEST_CASE(
    "a replaced file drains the old image, starts the new one and keeps the old for the "
    "probation") {
  World w;
  w.up({"p"});
  w.supervisor.files_changed({World::file("p")});
  CHECK(w.effects.loads[0].running == 1);
  w.answer_load(2);
  CHECK(w.state("p") == "stopping");
  CHECK(w.effects.asked == std::vector<std::string>{"p"});
  w.exit("p");
  CHECK(w.state("p") == "running");
  REQUIRE(w.logged("plugin.replaced").size() == 1);
  CHECK(w.logged("plugin.replaced")[0].fields.at("generation") == "2");
  CHECK(w.logged("plugin.replaced")[0].fields.at("pid_old") == "1.1");
  CHECK(w.logged("plugin.replaced")[0].fields.at("pid_new") == "2.1");
  CHECK(w.effects.unloads.empty());
  w.jump();
  CHECK(w.effects.unloads == std::vector<std::string>{"p.1"});
  CHECK(w.shown("p").generation == 2);
}

TEST_CASE("the same bytes are not loaded again") {
  World w;
  w.up({"p"});
  w.supervisor.files_changed({World::file("p")});
  w.answer_load(1);
  CHECK(w.state("p") == "running");
  CHECK(w.effects.asked.empty());
  CHECK(w.supervisor.settled());
}

TEST_CASE("a new image that fails early is rolled back, and its bytes are not tried again") {
  World w;
  w.up({"p"});
  w.supervisor.files_changed({World::file("p")});
  w.answer_load(2);
  w.exit("p");
  w.pass(9'999ms);
  w.panic("p", "bad build");
  CHECK(w.state("p") == "running");
  CHECK(w.shown("p").generation == 1);
  REQUIRE(w.logged("plugin.rolled_back").size() == 1);
  CHECK(w.logged("plugin.rolled_back")[0].fields.at("reason") == "bad build (std::runtime_error)");
  CHECK(w.effects.unloads == std::vector<std::string>{"p.2"});
  w.supervisor.files_changed({World::file("p")});
  w.answer_load(2);
  CHECK(w.effects.unloads == std::vector<std::string>{"p.2", "p.3"});
  CHECK(w.state("p") == "running");
  CHECK(w.effects.asked.size() == 1);
  w.supervisor.files_changed({World::file("p")});
  w.answer_load(3);
  w.exit("p");
  CHECK(w.shown("p").generation == 4);
}

TEST_CASE("a new image that fails after its probation is restarted like any other") {
  World w;
  w.up({"p"});
  w.supervisor.files_changed({World::file("p")});
  w.answer_load(2);
  w.exit("p");
  w.pass(10s);
  w.panic("p");
  CHECK(w.state("p") == "backing_off");
  CHECK(w.logged("plugin.rolled_back").empty());
}

TEST_CASE(
    "a newer file supersedes one on probation; the last good image stays the one to go back to") {
  World w;
  w.up({"p"});
  w.supervisor.files_changed({World::file("p")});
  w.answer_load(2);
  w.exit("p");
  w.supervisor.files_changed({World::file("p")});
  w.answer_load(3);
  w.exit("p");
  CHECK(w.effects.unloads == std::vector<std::string>{"p.2"});
  w.panic("p");
  CHECK(w.shown("p").generation == 1);
}

TEST_CASE("a bad new file leaves the running image alone and says so") {
  World w;
  w.up({"p"});
  w.supervisor.files_changed({World::bad_file("/p/p.so", "not an ELF file")});
  CHECK(w.state("p") == "running");
  CHECK(w.logged("plugin.refused").back().text ==
        "/p/p.so: not an ELF file; p keeps its image, generation 1");
  w.supervisor.files_changed({World::file("p")});
  w.fail_load("its static constructor throws");
  CHECK(w.state("p") == "running");
  CHECK(w.effects.asked.empty());
}

TEST_CASE("a load that a newer file has overtaken is thrown away") {
  World w;
  w.up({"p"});
  w.supervisor.files_changed({World::file("p")});
  w.supervisor.files_changed({World::file("p")});
  REQUIRE(w.effects.loads.size() == 2);
  w.answer_load(2);
  CHECK(w.state("p") == "running");
  CHECK(w.effects.unloads == std::vector<std::string>{"p.2"});
  w.answer_load(3);
  CHECK(w.state("p") == "stopping");
}

TEST_CASE("a removed file stops its plugin and the plugin is forgotten") {
  World w;
  w.up({"p", "q"});
  w.supervisor.files_changed({World::gone("/p/p.so")});
  CHECK(w.state("p") == "stopping");
  w.exit("p");
  CHECK(w.state("p") == "");
  CHECK(w.logged("plugin.removed").size() == 1);
  CHECK(w.effects.unloads == std::vector<std::string>{"p.1"});
  CHECK(w.state("q") == "running");
  w.supervisor.scanned({});
  CHECK(w.state("q") == "stopping");
}

TEST_CASE("a plugin that is loading when its file goes is forgotten at once") {
  World w;
  w.supervisor.scanned({World::file("p")});
  w.supervisor.files_changed({World::gone("/p/p.so")});
  CHECK(w.state("p") == "");
  w.answer_load();
  CHECK(w.effects.unloads.size() == 1);
  CHECK(w.supervisor.settled());
}

TEST_CASE(
    "of two files with one name the later is refused, both are named, and it takes over when the "
    "first goes") {
  World w;
  w.up({"p"});
  w.supervisor.files_changed({World::file("/q/copy.so", World::info("p"))});
  REQUIRE(w.logged("plugin.refused").size() == 1);
  const std::string text = w.logged("plugin.refused")[0].text;
  CHECK(text.find("/q/copy.so") != std::string::npos);
  CHECK(text.find("/p/p.so") != std::string::npos);
  CHECK(w.state("copy") == "refused");
  CHECK(w.state("p") == "running");
  w.supervisor.files_changed({World::gone("/p/p.so")});
  w.exit("p");
  CHECK(w.state("p") == "loading");
  CHECK(w.effects.loads[0].file == "/q/copy.so");
  w.answer_load();
  CHECK(w.state("p") == "running");
  CHECK(w.state("copy") == "");
}

TEST_CASE("a renamed file is the same plugin: it stops and starts from the new path") {
  World w;
  w.up({"p"});
  w.supervisor.files_changed({World::file("/p/a.so", World::info("p")), World::gone("/p/p.so")});
  CHECK(w.logged("plugin.refused").empty());
  w.exit("p");
  w.answer_load();
  CHECK(w.state("p") == "running");
  CHECK(w.shown("p").file == "/p/a.so");
}

TEST_CASE("a file that becomes another plugin ends the first") {
  World w;
  w.up({"p"});
  w.supervisor.files_changed({World::file("/p/p.so", World::info("other"))});
  CHECK(w.state("p") == "stopping");
  CHECK(w.state("other") == "loading");
  w.answer_load();
  w.exit("p");
  CHECK(w.state("p") == "");
  CHECK(w.state("other") == "running");
}

TEST_CASE(
    "a file that is no plugin is refused by path and reason; a good one in its place starts") {
  World w;
  w.supervisor.scanned({World::bad_file("/p/x.so", "not an ELF file")});
  CHECK(w.supervisor.settled());
  CHECK(w.logged("plugin.refused")[0].text == "/p/x.so: not an ELF file");
  CHECK(w.shown("x").last_reason == "not an ELF file");
  w.supervisor.files_changed({World::file("/p/x.so", World::info("y"))});
  w.fail_load("its static constructor hangs");
  CHECK(w.state("y") == "refused");
  CHECK(w.supervisor.settled());
  w.supervisor.files_changed({World::file("/p/x.so", World::info("y"))});
  w.answer_load();
  CHECK(w.state("y") == "running");
}

TEST_CASE("needs start first, whatever their names") {
  World w;
  w.infos["a"] = World::info("a", {"z"});
  w.supervisor.scanned({World::file("/p/a.so", w.infos["a"]), World::file("z")});
  CHECK(w.state("a") == "found");
  REQUIRE(w.effects.loads.size() == 1);
  w.answer_load();
  CHECK(w.state("z") == "running");
  CHECK(w.state("a") == "loading");
  w.answer_load();
  CHECK(w.state("a") == "running");
}

TEST_CASE("a missing need refuses once, and the plugin starts when the need appears") {
  World w;
  w.infos["a"] = World::info("a", {"z"});
  w.supervisor.scanned({World::file("/p/a.so", w.infos["a"])});
  CHECK(w.state("a") == "refused");
  CHECK(w.supervisor.settled());
  w.supervisor.tick();
  w.up({"quiet"});
  CHECK(w.logged("plugin.refused").size() == 1);
  w.supervisor.files_changed({World::file("z")});
  CHECK(w.state("a") == "found");
  w.answer_load();
  w.answer_load();
  CHECK(w.state("z") == "running");
  CHECK(w.state("a") == "running");
}

TEST_CASE("a circle of needs is refused and does not hold the others up") {
  World w;
  w.supervisor.scanned({World::file("/p/a.so", World::info("a", {"b"})),
                        World::file("/p/b.so", World::info("b", {"a"})), World::file("c")});
  w.answer_load();
  CHECK(w.state("a") == "refused");
  CHECK(w.state("b") == "refused");
  CHECK(w.state("c") == "running");
  CHECK(w.supervisor.settled());
}

TEST_CASE(
    "a plugin that the configuration disables is not loaded; enabling it starts it, disabling it "
    "stops it") {
  PluginOverride off;
  off.enabled = false;
  World w(with_override("p", off));
  w.supervisor.scanned({World::file("p")});
  CHECK(w.state("p") == "disabled");
  CHECK(w.effects.loads.empty());
  w.supervisor.apply(Config{});
  w.answer_load();
  CHECK(w.state("p") == "running");
  w.supervisor.apply(with_override("p", off));
  CHECK(w.state("p") == "stopping");
  w.supervisor.apply(Config{});
  w.supervisor.apply(with_override("p", off));
  w.exit("p");
  CHECK(w.state("p") == "disabled");
  CHECK(w.effects.unloads == std::vector<std::string>{"p.1"});
}

TEST_CASE("each plugin has an account for all its lives, with its mailbox limit, live") {
  PluginOverride limited;
  limited.mailbox_limit = 500;
  World w(with_override("p", limited));
  w.up({"p", "q"});
  const std::uint64_t p = w.effects.accounts.at(w.group_of("p"));
  const std::uint64_t q = w.effects.accounts.at(w.group_of("q"));
  CHECK(p != 0);
  CHECK(q != 0);
  CHECK(p != q);
  CHECK(w.effects.limits == std::map<std::uint64_t, std::uint64_t>{{p, 500}, {q, 0}});
  CHECK(w.shown("p").policy.mailbox_limit == 500);
  Config c;
  c.plugins.defaults.mailbox_limit = 900;
  w.supervisor.apply(c);
  CHECK(w.effects.limits == std::map<std::uint64_t, std::uint64_t>{{p, 900}, {q, 900}});
  const std::uint64_t first_group = w.group_of("p");
  w.panic("p");
  w.jump();
  CHECK(w.group_of("p") != first_group);
  CHECK(w.effects.accounts.at(w.group_of("p")) == p);
  CHECK(w.effects.closed_accounts.empty());
  w.supervisor.files_changed({World::gone("/p/p.so")});
  w.exit("p");
  CHECK(w.effects.closed_accounts == std::vector<std::uint64_t>{p});
}

TEST_CASE("a plugin that is enabled again while it still stops for that is loaded anew") {
  PluginOverride off;
  off.enabled = false;
  World w;
  w.up({"p"});
  w.supervisor.apply(with_override("p", off));
  w.supervisor.apply(Config{});
  w.exit("p");
  CHECK(w.state("p") == "loading");
  w.answer_load();
  CHECK(w.state("p") == "running");
}

TEST_CASE("a reload restarts the plugins whose own configuration changed, and only those") {
  World w;
  w.up({"p", "q"});
  PluginOverride o;
  o.config = R"({"x":1})";
  o.max_restarts = 9;
  w.supervisor.apply(with_override("p", o));
  CHECK(w.state("p") == "stopping");
  CHECK(w.state("q") == "running");
  w.exit("p");
  CHECK(w.effects.roots.at(w.group_of("p")).config == R"({"x":1})");
  CHECK(w.logged("plugin.restarted").back().fields.at("reason") == "its configuration changed");
  CHECK(w.shown("p").policy.max_restarts == 9);
  w.supervisor.apply(with_override("p", o));
  CHECK(w.state("p") == "running");
}

TEST_CASE("restart by hand answers with both pids when the plugin is up again") {
  World w;
  w.up({"p"});
  w.supervisor.restart("p", w.reply());
  CHECK(w.answers.empty());
  w.exit("p");
  REQUIRE(w.answers.size() == 1);
  CHECK(w.answers[0].at("ok") == true);
  CHECK(w.answers[0].dump().find("pid 1.1 is now 2.1") != std::string::npos);
  CHECK(w.shown("p").restarts_in_window == 0);
}

TEST_CASE("commands that cannot be done say why and what to do") {
  World w;
  w.up({"p"});
  w.supervisor.restart("pp", w.reply());
  CHECK(w.answers.back().at("error").at("code") == "unknown_plugin");
  w.supervisor.revive("p", w.reply());
  CHECK(w.answers.back().at("error").at("code") == "refused");
  PluginOverride off;
  off.enabled = false;
  w.supervisor.apply(with_override("p", off));
  w.exit("p");
  w.supervisor.restart("p", w.reply());
  CHECK(w.answers.back().at("error").at("code") == "refused");
  w.supervisor.shut_down();
  w.supervisor.restart("p", w.reply());
  CHECK(w.answers.back().at("error").at("code") == "stopping");
}

TEST_CASE("a quarantined plugin refuses restart, and revive gives it its whole budget back") {
  PluginOverride o;
  o.max_restarts = 1;
  World w(with_override("p", o));
  w.up({"p"});
  w.panic("p");
  w.jump();
  w.panic("p");
  CHECK(w.state("p") == "quarantined");
  w.supervisor.restart("p", w.reply());
  CHECK(w.answers.back().at("ok") == false);
  w.supervisor.revive("p", w.reply());
  CHECK(w.answers.back().at("ok") == true);
  CHECK(w.logged("plugin.revived").size() == 1);
  w.panic("p");
  CHECK(w.state("p") == "backing_off");
}

TEST_CASE("a stopped plugin can be revived, a refused one restarted: it is loaded again") {
  PluginOverride o;
  o.restart = RestartType::temporary;
  World w(with_override("p", o));
  w.up({"p"});
  w.panic("p");
  REQUIRE(w.state("p") == "stopped");
  w.supervisor.revive("p", w.reply());
  CHECK(w.state("p") == "running");
  CHECK(w.answers.back().at("ok") == true);

  w.supervisor.files_changed({World::file("q")});
  w.fail_load("is damaged");
  REQUIRE(w.state("q") == "refused");
  w.supervisor.restart("q", w.reply());
  CHECK(w.state("q") == "loading");
  w.fail_load("is still damaged");
  CHECK(w.answers.back().at("error").at("message").get<std::string>().find("is still damaged") !=
        std::string::npos);
  w.supervisor.restart("q", w.reply());
  w.answer_load();
  CHECK(w.state("q") == "running");
  CHECK(w.answers.back().at("ok") == true);
}

TEST_CASE("a quarantined plugin is revived by a new image, not by the same bytes") {
  PluginOverride o;
  o.max_restarts = 0;
  World w(with_override("p", o));
  w.up({"p"});
  w.panic("p");
  CHECK(w.state("p") == "quarantined");
  w.supervisor.files_changed({World::file("p")});
  w.answer_load(1);
  CHECK(w.state("p") == "quarantined");
  w.supervisor.files_changed({World::file("p")});
  w.answer_load(2);
  CHECK(w.state("p") == "running");
  CHECK(w.effects.unloads == std::vector<std::string>{"p.1"});
  w.panic("p");
  CHECK(w.state("p") == "quarantined");  // there is no good image to go back to
}

TEST_CASE("a plugin that does not stop in its time is killed, then given up") {
  World w;
  w.up({"p"});
  w.supervisor.restart("p", w.reply());
  w.pass(9'999ms);
  CHECK(w.effects.killed.empty());
  w.pass(1ms);
  CHECK(w.effects.killed.size() == 1);
  CHECK(w.state("p") == "stopping");
  w.pass(kKillGrace);
  CHECK(w.logged("daemon.stuck").size() == 1);
  CHECK(w.state("p") == "running");
  CHECK(w.shown("p").pid == "2.1");
  w.supervisor.signalled(
      smarm::Panic{smarm::Pid(1, 1), "killed", "", {}});  // comes at last: nobody's root any more
  CHECK(w.state("p") == "running");
}

TEST_CASE("the shutdown asks in reverse start order, each after the one before has ended") {
  World w;
  w.up({"a", "b", "c"});
  w.supervisor.shut_down();
  CHECK(w.effects.asked == std::vector<std::string>{"c"});
  w.exit("c");
  CHECK(w.effects.asked == std::vector<std::string>{"c", "b"});
  w.exit("b");
  CHECK_FALSE(w.supervisor.finished());
  w.exit("a");
  CHECK(w.supervisor.finished());
  CHECK(w.supervisor.stuck().empty());
  CHECK(w.effects.unloads.empty());
}

TEST_CASE(
    "a plugin that does not stop costs its share of the shutdown, then all of them are killed and "
    "it is named") {
  World w;
  w.up({"a", "b"});
  w.supervisor.shut_down();
  w.pass(4'999ms);
  CHECK(w.effects.asked == std::vector<std::string>{"b"});
  w.pass(1ms);
  CHECK(w.effects.asked == std::vector<std::string>{"b", "a"});
  w.exit("a");
  w.pass(5s);
  CHECK(w.effects.killed.size() == 1);
  CHECK_FALSE(w.supervisor.finished());
  w.pass(kKillGrace);
  CHECK(w.supervisor.finished());
  CHECK(w.supervisor.stuck() == std::vector<std::string>{"b"});
}

TEST_CASE(
    "next_due never lies in the past once tick has run, so that the supervisor does not spin") {
  World w;
  w.up({"a", "b", "c"});
  w.panic("a");
  w.supervisor.shut_down();
  for (int i = 0; i < 1000 && !w.supervisor.finished(); ++i) {
    const auto due = w.supervisor.next_due();
    REQUIRE(due.has_value());
    REQUIRE(*due > w.effects.now_);
    w.jump();
  }
  CHECK(w.supervisor.finished());
}

TEST_CASE("kill_all ends the time to drain at once") {
  World w;
  w.up({"a", "b"});
  w.supervisor.shut_down();
  w.supervisor.kill_all();
  CHECK(w.effects.killed.size() == 2);
  w.killed("a");
  w.killed("b");
  CHECK(w.supervisor.finished());
}

TEST_CASE("a shutdown ends what is backing off or loading without starting it") {
  World w;
  w.up({"a"});
  w.panic("a");
  w.supervisor.files_changed({World::file("b")});
  w.supervisor.shut_down();
  CHECK(w.supervisor.finished());
  CHECK(w.state("a") == "stopped");
  CHECK(w.state("b") == "stopped");
  w.answer_load();
  CHECK(w.state("b") == "stopped");
}

TEST_CASE("the restart wish of a plugin holds unless the configuration says otherwise") {
  World w;
  w.infos["p"] = World::info("p");
  w.infos["p"].restart = smarm::plugin::Restart::temporary;
  w.supervisor.scanned({World::file("/p/p.so", w.infos["p"])});
  w.answer_load();
  CHECK(w.shown("p").policy.restart == "temporary");
  w.panic("p");
  CHECK(w.state("p") == "stopped");
}

TEST_CASE("a permanent plugin that ends by itself is quarantined with that reason") {
  PluginOverride o;
  o.max_restarts = 0;
  World w(with_override("p", o));
  w.up({"p"});
  w.exit("p");
  CHECK(w.state("p") == "quarantined");
  CHECK(w.shown("p").last_reason == "it ended by itself");
  w.supervisor.restart("p", w.reply());
  REQUIRE(w.answers.size() == 1);
  CHECK(w.answers[0]["error"]["message"] == "p is quarantined: it ended by itself");
}

TEST_CASE("a refusal is shown until the file is good again, and is no reason of a later end") {
  World w;
  w.up({"p"});
  w.panic("p");
  w.jump();
  REQUIRE(w.state("p") == "running");
  w.supervisor.files_changed({World::bad_file("/p/p.so", "is writable by everyone")});
  CHECK(w.shown("p").last_reason == "is writable by everyone");
  w.supervisor.files_changed({World::file("p")});
  w.answer_load();  // the bytes that run already
  CHECK(w.shown("p").last_reason == "boom");
  w.supervisor.files_changed({World::bad_file("/p/p.so", "not an ELF file")});
  w.supervisor.files_changed({World::file("p")});
  w.answer_load(2);
  w.exit("p");
  CHECK(w.state("p") == "running");
  CHECK(w.shown("p").last_reason == "boom");
}

TEST_CASE("a command to a refused file says why it is refused, and suggests nothing") {
  World w;
  w.supervisor.scanned({World::bad_file("/p/half.so", "not an ELF file")});
  w.supervisor.restart("half", w.reply());
  w.supervisor.revive("half", w.reply());
  REQUIRE(w.answers.size() == 2);
  for (const auto& answer : w.answers) {
    CHECK(answer["error"]["code"] == "refused");
    CHECK(answer["error"]["message"] == "/p/half.so is refused: not an ELF file");
    CHECK(answer["error"]["hint"] == "mend the file");
  }
}
