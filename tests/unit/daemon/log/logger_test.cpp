#include "daemon/log/logger.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <thread>

#include <nlohmann/json.hpp>

#include "daemon/log/events.hpp"
#include "daemon/log/sink.hpp"
#include "tests/unit/daemon/control/support.hpp"

using namespace smarmd;
using namespace std::chrono_literals;
using plugin::UniqueFd;
using test::kPatience;
using test::RawClient;

namespace {

// The log writes to one end of a socket pair; the test reads the other.
struct Stream {
  explicit Stream(int send_buffer = 0) : reader(make(send_buffer)) {}

  LoggerOptions options(LogFormat format) const {
    LoggerOptions out;
    out.fd = writer.get();
    out.format = format;
    return out;
  }
  nlohmann::json document() {
    const auto line = reader.line();
    REQUIRE(line.has_value());
    return nlohmann::json::parse(*line);
  }

  UniqueFd writer;
  RawClient reader;

 private:
  UniqueFd make(int send_buffer) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    writer = UniqueFd(ends[0]);
    if (send_buffer)
      ::setsockopt(writer.get(), SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    return UniqueFd(ends[1]);
  }
};

}  // namespace

TEST_CASE("logger: text lines carry time, level, event, words and fields") {
  Stream stream;
  Logger logger(stream.options(LogFormat::text));
  logger.log(Level::info, events::kPluginRestarted, "echo: it broke",
             {{"plugin", "echo"}, {"restarts", 1}});
  const auto line = stream.reader.line();
  REQUIRE(line.has_value());
  CHECK(line->substr(24) ==
        " info  plugin.restarted echo: it broke plugin=echo restarts=1");  // no colour: this is no
                                                                           // terminal
  CHECK((*line)[10] == 'T');
  CHECK((*line)[23] == 'Z');
}

TEST_CASE("logger: JSON lines are one document each") {
  Stream stream;
  Logger logger(stream.options(LogFormat::json));
  logger.log(Level::error, events::kPluginPanicked, "two\nlines", {{"backtrace", "a\nb"}});
  const auto record = stream.document();
  CHECK(record["level"] == "error");
  CHECK(record["event"] == "plugin.panicked");
  CHECK(record["message"] == "two\nlines");
  CHECK(record["backtrace"] == "a\nb");
}

TEST_CASE("logger: the level filters and can be changed while it runs") {
  Stream stream;
  LoggerOptions options = stream.options(LogFormat::json);
  options.level = Level::warn;
  Logger logger(options);
  CHECK_FALSE(logger.enabled(Level::info));
  logger.log(Level::info, "a", "not written");
  logger.log(Level::warn, "b", "written");
  logger.set_level(Level::trace);
  CHECK(logger.level() == Level::trace);
  logger.log(Level::trace, "c", "written");
  logger.set_level(Level::critical);
  logger.log(Level::error, "d", "not written");
  REQUIRE(logger.flush(kPatience));
  CHECK(logger.stats().written == 2);
  CHECK(logger.stats().queued == 0);
  CHECK(stream.document()["event"] == "b");
  CHECK(stream.document()["event"] == "c");
}

TEST_CASE("logger: records of many threads all arrive, each thread's in its order") {
  constexpr int kThreads = 4, kEach = 5'000;
  Stream stream;
  Logger logger(stream.options(LogFormat::json));
  std::vector<std::jthread> writers;
  for (int t = 0; t < kThreads; ++t) {
    writers.emplace_back([&logger, t] {
      for (int i = 0; i < kEach; ++i)
        logger.log(Level::info, "test", "line", {{"thread", t}, {"number", i}});
    });
  }
  std::map<int, int> next;
  bool in_order = true;
  for (int i = 0; i < kThreads * kEach; ++i) {
    const auto record = stream.document();
    in_order &= record["number"] == next[record["thread"].get<int>()]++;
  }
  CHECK(in_order);
  CHECK(logger.stats().lost == 0);
}

TEST_CASE("logger: a full queue drops, counts and reports, and log() never waits") {
  Stream stream(4096);
  LoggerOptions options = stream.options(LogFormat::json);
  options.capacity = 64;
  Logger logger(options);
  // Nobody reads yet, so the sink is stuck: a log() that waited for it would never come to the end
  // of this loop.
  constexpr std::uint64_t kRecords = 2000;
  for (std::uint64_t i = 0; i < kRecords; ++i)
    logger.log(Level::info, "test", std::string(1000, 'x'), {{"number", i}});
  CHECK(logger.stats().lost > 0);
  CHECK(logger.stats().queued <= options.capacity);
  CHECK_FALSE(logger.flush(1ms));

  std::uint64_t written = 0, reported = 0;
  while (written + reported < kRecords) {
    const auto record = stream.document();
    if (record["event"] == events::kLogLost) {
      CHECK(record["level"] == "warn");
      reported += record["lost"].get<std::uint64_t>();
    } else {
      ++written;
    }
  }
  CHECK(written + reported == kRecords);
  CHECK(reported == logger.stats().lost);
}

TEST_CASE("logger: a flood of plugin lines leaves room for the daemon's own records") {
  Stream stream(4096);
  LoggerOptions options = stream.options(LogFormat::json);
  options.capacity = 64;
  Logger logger(options);
  for (int i = 0; i < 500; ++i) logger.log(Level::info, events::kPluginLog, std::string(1000, 'x'));
  const std::uint64_t lost = logger.stats().lost;
  REQUIRE(lost > 0);
  logger.log(Level::error, events::kPluginQuarantined, "must be seen");
  CHECK(logger.stats().lost == lost);
  bool seen = false;
  while (!seen) seen = stream.document()["event"] == events::kPluginQuarantined;
  CHECK(seen);
}

TEST_CASE("logger: the queue is bounded in bytes too") {
  Stream stream(4096);
  LoggerOptions options = stream.options(LogFormat::json);
  options.capacity_bytes = std::size_t{64} * 1024;
  Logger logger(options);
  for (int i = 0; i < 200; ++i) logger.log(Level::info, "test", std::string(8000, 'x'));
  CHECK(logger.stats().lost > 0);
  CHECK(logger.stats().queued < 64);
  logger.log(Level::info, "test", "small", {{"big", std::string(100'000, 'y')}});
  std::jthread drain([&] { stream.reader.rest(); });
  CHECK(logger.flush(kPatience));
  ::shutdown(stream.writer.get(), SHUT_WR);
}

TEST_CASE("logger: long texts and fields are cut") {
  Stream stream;
  Logger logger(stream.options(LogFormat::json));
  logger.log(Level::info, events::kPluginLog, std::string(20'000, 'x'),
             {{"backtrace", std::string(40'000, 'y')}});
  const auto record = stream.document();
  CHECK(record["message"].get<std::string>().size() == Logger::kMaxText);
  CHECK(record["backtrace"].get<std::string>().size() == Logger::kMaxFieldText);
}

TEST_CASE("logger: its end writes what is queued") {
  Stream stream;
  {
    Logger logger(stream.options(LogFormat::json));
    for (int i = 0; i < 100; ++i) logger.log(Level::info, "test", "line", {{"number", i}});
  }
  for (int i = 0; i < 100; ++i) CHECK(stream.document()["number"] == i);
}

TEST_CASE("logger: its end does not hang on a sink that takes nothing") {
  Stream stream(4096);
  const auto start = std::chrono::steady_clock::now();
  {
    LoggerOptions options = stream.options(LogFormat::json);
    options.stop_timeout = 50ms;
    Logger logger(options);
    for (int i = 0; i < 100; ++i) logger.log(Level::info, "test", std::string(8000, 'x'));
  }
  CHECK(std::chrono::steady_clock::now() - start < 10s);
  ::shutdown(stream.writer.get(),
             SHUT_RDWR);  // the thread that was left behind ends: its write fails
}

TEST_CASE("logger: an emergency line does not wait for a stderr that is full") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const UniqueFd reader(ends[0]), writer(ends[1]);
  const std::string page(4096, 'x');
  while (::write(writer.get(), page.data(), page.size()) > 0) {
  }
  REQUIRE(::fcntl(writer.get(), F_SETFL, 0) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(writer.get(), STDERR_FILENO);
    Logger::emergency("nobody reads this");
    ::_exit(0);
  }
  REQUIRE(child > 0);
  int status = -1;
  const bool ended = test::eventually([&] { return ::waitpid(child, &status, WNOHANG) == child; });
  if (!ended) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  CHECK(ended);
  CHECK(status == 0);
}

TEST_CASE("logger: what a broken sink takes is counted as lost, and nothing else happens") {
  Stream stream;
  ::shutdown(stream.reader.fd(), SHUT_RD);
  Logger logger(stream.options(LogFormat::text));
  for (int i = 0; i < 10; ++i) logger.log(Level::info, "test", "into the void");
  CHECK(logger.flush(kPatience));
  CHECK(logger.stats().lost == 10);
  CHECK(logger.stats().written == 0);
}

TEST_CASE("logger: the journal sink sends one message of fields a record and counts refusals") {
  std::vector<std::vector<std::string>> sent;
  int answer = 0;
  const auto sink = make_journal_sink([&](const iovec* parts, int count) {
    auto& message = sent.emplace_back();
    for (int i = 0; i < count; ++i)
      message.emplace_back(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
    return answer;
  });
  Record record;
  record.event = events::kPluginPanicked;
  record.text = "several\nlines";
  record.fields = {{"plugin", "echo"}, {"actor", "3.1"}};
  sink->write(record);
  CHECK(sink->flush() == 0);
  REQUIRE(sent.size() == 1);
  for (const char* wanted : {"PRIORITY=6", "MESSAGE=several\nlines", "SMARMD_EVENT=plugin.panicked",
                             "SMARMD_PLUGIN=echo", "SMARMD_ACTOR=3.1"}) {
    CAPTURE(wanted);
    CHECK(std::ranges::count(sent[0], wanted) == 1);
  }
  answer = -ENOBUFS;
  sink->write(record);
  CHECK(sink->flush() == 1);
  CHECK(sink->flush() == 0);
}

TEST_CASE(
    "logger: JOURNAL_STREAM names the journal only with the device and inode of the descriptor") {
  Stream stream;
  struct stat info{};
  REQUIRE(::fstat(stream.writer.get(), &info) == 0);
  const std::string right = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
  CHECK(is_journal_stream(stream.writer.get(), right.c_str()));
  CHECK_FALSE(is_journal_stream(stream.reader.fd(), right.c_str()));
  CHECK_FALSE(is_journal_stream(stream.writer.get(), nullptr));
  for (const std::string& wrong : {std::string(), std::string(":"), right + "0", right + " ",
                                   "x" + right, std::to_string(info.st_ino)}) {
    CAPTURE(wrong);
    CHECK_FALSE(is_journal_stream(stream.writer.get(), wrong.c_str()));
  }
}

TEST_CASE("logger: journald asked for where there is none becomes text, and says so") {
  if (journal_is_there()) {
    MESSAGE("this machine has a journald; nothing to see");
    return;
  }
  Stream stream;
  Logger logger(stream.options(LogFormat::journald));
  CHECK(logger.format() == LogFormat::text);
  const auto line = stream.reader.line();
  REQUIRE(line.has_value());
  CHECK(line->find("log.fallback") != std::string::npos);
}

TEST_CASE("logger: automatic is text when stderr is not the journal") {
  Stream stream;
  Logger logger(stream.options(LogFormat::automatic));
  CHECK(logger.format() == LogFormat::text);
}

TEST_CASE("logger: a plugin's level number is brought into range") {
  CHECK(level_from_number(-5) == Level::trace);
  CHECK(level_from_number(2) == Level::info);
  CHECK(level_from_number(99) == Level::critical);
}
