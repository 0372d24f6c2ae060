#include "daemon/supervision/plugin_context.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <smarm/smarm.hpp>

#include <array>
#include <string>

using namespace smarmd;

namespace {

// A logger that writes JSON into a pipe, and a context over it.
struct Life {
  std::array<int, 2> pipe{-1, -1};
  std::unique_ptr<Logger> logger;
  Registry registry{&actor_lives};
  Listeners listeners;
  std::unique_ptr<PluginContext> context;

  Life() {
    REQUIRE(::pipe(pipe.data()) == 0);
    logger = std::make_unique<Logger>(
        LoggerOptions{.level = Level::info, .format = LogFormat::json, .fd = pipe[1]});
    listeners.emplace("web", pipe[0]);
    context = std::make_unique<PluginContext>("p", R"({"a":1})", 1, *logger, registry, listeners);
  }
  ~Life() {
    logger.reset();
    for (int fd : pipe) {
      if (fd >= 0) ::close(fd);
    }
  }
  std::string written() {
    logger.reset();
    ::close(std::exchange(pipe[1], -1));
    std::string text;
    std::array<char, 4096> buffer;
    for (ssize_t n; (n = ::read(pipe[0], buffer.data(), buffer.size())) > 0;)
      text.append(buffer.data(), static_cast<std::size_t>(n));
    return text;
  }
  smarm::plugin::Context plugin_side() { return {&PluginContext::host(), context.get()}; }
};

}  // namespace

TEST_CASE("the plugin sees its config, and stopping once it was told") {
  Life life;
  const auto ctx = life.plugin_side();
  CHECK(ctx.config() == R"({"a":1})");
  CHECK_FALSE(ctx.stopping());
  life.context->stop();
  CHECK(ctx.stopping());
}

TEST_CASE(
    "a log line carries the plugin and the actor; below the level nothing is written; long ones "
    "are cut") {
  Life life;
  std::string pid;
  smarm::run([&] {
    pid = smarm::self_pid().to_string();
    const auto ctx = life.plugin_side();
    ctx.log(smarm::LogLevel::debug, "not shown");
    ctx.log(smarm::LogLevel::warn, "shown");
    ctx.log(smarm::LogLevel::info, std::string(20'000, 'x'));
    ctx.log(static_cast<smarm::LogLevel>(99), "beyond");
  });
  const std::string text = life.written();
  CHECK(text.find("not shown") == std::string::npos);
  CHECK(text.find("\"message\":\"shown\",\"plugin\":\"p\",\"actor\":\"" + pid + "\"") !=
        std::string::npos);
  CHECK(text.find("\"level\":\"critical\",\"event\":\"plugin.log\",\"message\":\"beyond\"") !=
        std::string::npos);
  CHECK(text.find(std::string(8'000, 'x')) != std::string::npos);
  CHECK(text.find(std::string(8'193, 'x')) == std::string::npos);
}

TEST_CASE(
    "a passed listener is handed out as a new descriptor each time; an unknown name gives none") {
  Life life;
  const auto ctx = life.plugin_side();
  const auto first = ctx.listener("web"), second = ctx.listener("web");
  REQUIRE(first.has_value());
  REQUIRE(second.has_value());
  CHECK(*first != *second);
  struct stat a{}, b{};
  ::fstat(*first, &a);
  ::fstat(life.pipe[0], &b);
  CHECK(a.st_ino == b.st_ino);
  ::close(*first);
  ::close(*second);
  CHECK_FALSE(ctx.listener("ftp").has_value());
}

TEST_CASE("the registry through the context: one living holder, gone with its actor") {
  Life life;
  smarm::run([&] {
    const auto ctx = life.plugin_side();
    auto child = smarm::spawn([&life] {
      const auto inner = life.plugin_side();
      if (!inner.publish("name", smarm::self_pid())) throw std::runtime_error("not published");
      smarm::park_current();
    });
    while (!ctx.lookup("name")) smarm::yield_now();
    CHECK(ctx.lookup("name") == child.pid());
    CHECK_FALSE(ctx.publish("name", smarm::self_pid()));
    smarm::unpark(child.pid());
    CHECK(child.join().has_value());
    CHECK_FALSE(ctx.lookup("name").has_value());
    CHECK(ctx.publish("name", smarm::self_pid()));
  });
}
