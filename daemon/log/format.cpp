#include "daemon/log/format.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <cctype>

#include <nlohmann/json.hpp>

namespace smarmd {
namespace {

template <typename... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};

void append_escaped(std::string& out, std::string_view text, bool quoted) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c < 0x20 || c == 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", c);
    } else if (c == 0xC2 && i + 1 < text.size() &&
               static_cast<unsigned char>(text[i + 1]) < 0xA0) {  // U+0080 to U+009F
      fmt::format_to(std::back_inserter(out), "\\u00{:02x}", static_cast<unsigned char>(text[++i]));
    } else {
      if (quoted && (c == '"' || c == '\\')) out += '\\';
      out += static_cast<char>(c);
    }
  }
}

bool needs_quotes(std::string_view text) {
  if (text.empty()) return true;
  for (unsigned char c : text) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) return true;
  }
  return false;
}

void append_text(std::string& out, std::string_view text) {
  const bool quotes = needs_quotes(text);
  if (quotes) out += '"';
  append_escaped(out, text, quotes);
  if (quotes) out += '"';
}

void append_value(std::string& out, const FieldValue& value) {
  std::visit(Overloaded{
                 [&](const std::string& text) { append_text(out, text); },
                 [&](const LateText& late) { append_text(out, late.text()); },
                 [&](auto number) { fmt::format_to(std::back_inserter(out), "{}", number); },
             },
             value);
}

int syslog_priority(Level level) {
  switch (level) {
    case Level::trace:
    case Level::debug: return 7;
    case Level::info: return 6;
    case Level::warn: return 4;
    case Level::error: return 3;
    case Level::critical: return 2;
  }
  return 6;
}

std::string journal_key(std::string_view key) {
  std::string out = "SMARMD_";
  for (unsigned char c : key) out += std::isalnum(c) ? static_cast<char>(std::toupper(c)) : '_';
  return out.substr(0, 64);  // journald refuses longer names
}

std::string plain_value(const FieldValue& value) {
  return std::visit(Overloaded{
                        [](const std::string& text) { return text; },
                        [](const LateText& late) { return late.text(); },
                        [](auto number) { return fmt::format("{}", number); },
                    },
                    value);
}

}  // namespace

std::string utc_timestamp(std::chrono::system_clock::time_point time) {
  const auto ms = std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch().count();
  const std::time_t seconds = static_cast<std::time_t>(ms >= 0 ? ms / 1000 : (ms - 999) / 1000);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(seconds),
                     ms - static_cast<std::int64_t>(seconds) * 1000);
}

std::string text_line(const Record& record) {
  std::string out = record.event;
  if (!record.text.empty()) {
    out += ' ';
    append_escaped(out, record.text, false);
  }
  for (const Field& field : record.fields) {
    out += ' ';
    out += field.key;
    out += '=';
    append_value(out, field.value);
  }
  return out;
}

std::string json_line(const Record& record) {
  nlohmann::ordered_json line;
  line["ts"] = utc_timestamp(record.time);
  line["level"] = name_of(record.level);
  line["event"] = record.event;
  line["message"] = record.text;
  for (const Field& field : record.fields) {
    std::string key = field.key;
    while (line.contains(key)) key += '_';
    std::visit(Overloaded{
                   [&](const LateText& late) { line[key] = late.text(); },
                   [&](const auto& value) { line[key] = value; },
               },
               field.value);
  }
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::vector<std::string> journal_fields(const Record& record) {
  std::vector<std::string> out;
  out.reserve(4 + record.fields.size());
  out.push_back(fmt::format("PRIORITY={}", syslog_priority(record.level)));
  out.push_back("SYSLOG_IDENTIFIER=smarmd");
  out.push_back("MESSAGE=" + (record.text.empty() ? record.event : record.text));
  out.push_back("SMARMD_EVENT=" + record.event);
  for (const Field& field : record.fields)
    out.push_back(journal_key(field.key) + "=" + plain_value(field.value));
  return out;
}

std::string cut_text(std::string text, std::size_t limit) {
  if (text.size() <= limit) return text;
  std::size_t end = limit > 3 ? limit - 3 : 0;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
    --end;  // not inside a UTF-8 sequence
  text.resize(end);
  return text += "...";
}

}  // namespace smarmd
