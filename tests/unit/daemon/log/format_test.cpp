#include "daemon/log/format.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

using namespace smarmd;

namespace {

Record sample() {
  Record record;
  record.time = std::chrono::system_clock::time_point(std::chrono::milliseconds(1'795'262'400'123));
  record.level = Level::warn;
  record.event = "plugin.restarted";
  record.text = "echo: it broke";
  record.fields = {{"plugin", "echo"},
                   {"reason", "bad \"luck\""},
                   {"restarts", 3},
                   {"delay_ms", 12.5},
                   {"again", true}};
  return record;
}

bool has(const std::vector<std::string>& fields, const std::string& wanted) {
  return std::ranges::count(fields, wanted) == 1;
}

}  // namespace

TEST_CASE("log format: a timestamp is UTC with milliseconds") {
  CHECK(utc_timestamp(sample().time) == "2026-11-21T12:00:00.123Z");
  CHECK(utc_timestamp(std::chrono::system_clock::time_point(std::chrono::milliseconds(-1))) ==
        "1969-12-31T23:59:59.999Z");
}

TEST_CASE(
    "log format: a text line has the event, the words and the fields, quoted where they must be") {
  CHECK(
      text_line(sample()) ==
      R"(plugin.restarted echo: it broke plugin=echo reason="bad \"luck\"" restarts=3 delay_ms=12.5 again=true)");
  Record bare;
  bare.event = "daemon.ready";
  CHECK(text_line(bare) == "daemon.ready");
  bare.fields = {{"empty", ""}, {"equals", "a=b"}};
  CHECK(text_line(bare) == R"(daemon.ready empty="" equals="a=b")");
}

TEST_CASE("log format: a text cannot forge a line or drive a terminal") {
  Record record;
  record.event = "plugin.log";
  record.text = "one\ntwo\r\t\x1b[31m\x7f\xc2\x9b";
  record.fields = {{"reason", "a\nb"}};
  CHECK(text_line(record) == R"(plugin.log one\ntwo\r\t\x1b[31m\x7f\u009b reason="a\nb")");
}

TEST_CASE("log format: JSON has stable keys in a stable order, then the fields with their types") {
  const std::string line = json_line(sample());
  CHECK(line.starts_with(
      R"({"ts":"2026-11-21T12:00:00.123Z","level":"warn","event":"plugin.restarted","message":"echo: it broke","plugin":"echo",)"));
  const auto parsed = nlohmann::json::parse(line);
  CHECK(parsed["restarts"] == 3);
  CHECK(parsed["delay_ms"] == 12.5);
  CHECK(parsed["again"] == true);
  CHECK(parsed["reason"] == "bad \"luck\"");
}

TEST_CASE(
    "log format: JSON survives bytes that are not UTF-8, large numbers and fields named like the "
    "fixed keys") {
  Record record = sample();
  record.text = "\xff\xfe broken";
  record.fields = {{"level", "mine"},
                   {"big", std::numeric_limits<std::uint64_t>::max()},
                   {"small", std::numeric_limits<std::int64_t>::min()}};
  const auto parsed = nlohmann::json::parse(json_line(record));
  CHECK(parsed["level"] == "warn");
  CHECK(parsed["level_"] == "mine");
  CHECK(parsed["big"] == std::numeric_limits<std::uint64_t>::max());
  CHECK(parsed["small"] == std::numeric_limits<std::int64_t>::min());
  CHECK(parsed["message"].get<std::string>().ends_with(" broken"));
}

TEST_CASE(
    "log format: journal fields carry priority, message, event and every field in upper case") {
  const auto fields = journal_fields(sample());
  CHECK(has(fields, "PRIORITY=4"));
  CHECK(has(fields, "SYSLOG_IDENTIFIER=smarmd"));
  CHECK(has(fields, "MESSAGE=echo: it broke"));
  CHECK(has(fields, "SMARMD_EVENT=plugin.restarted"));
  CHECK(has(fields, "SMARMD_PLUGIN=echo"));
  CHECK(has(fields, "SMARMD_REASON=bad \"luck\""));
  CHECK(has(fields, "SMARMD_RESTARTS=3"));
  CHECK(has(fields, "SMARMD_AGAIN=true"));
  Record record;
  record.event = "daemon.ready";
  record.level = Level::critical;
  record.fields = {{"strange key-", 1}};
  CHECK(has(journal_fields(record), "MESSAGE=daemon.ready"));
  CHECK(has(journal_fields(record), "PRIORITY=2"));
  CHECK(has(journal_fields(record), "SMARMD_STRANGE_KEY_=1"));
}

TEST_CASE("log format: a long text is cut between two characters") {
  CHECK(cut_text("short", 8) == "short");
  CHECK(cut_text("exactly8", 8) == "exactly8");
  CHECK(cut_text("ninebytes", 8) == "nineb...");
  CHECK(cut_text("abcd\xc3\xa4xyz", 8) ==
        "abcd...");  // the fifth character has two bytes and fits only by half
}
