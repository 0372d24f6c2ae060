#include "daemon/plugin/text.hpp"

#include <system_error>

namespace smarmd::plugin {
namespace {

bool continuation(unsigned char c) { return (c & 0xc0) == 0x80; }

// Length of the well-formed sequence that starts at text[at], 0 for none (RFC 3629: no overlong
// forms, no surrogates).
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continuation(second) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const unsigned low = first == 0xe0 ? 0xa0 : 0x80, high = first == 0xed ? 0x9f : 0xbf;
    return second >= low && second <= high && continuation(byte(2)) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const unsigned low = first == 0xf0 ? 0x90 : 0x80, high = first == 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high && continuation(byte(2)) && continuation(byte(3)) ? 4
                                                                                             : 0;
  }
  return 0;
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string to_utf8(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at);
    out += length ? text.substr(at, length) : "?";
    at += length ? length : 1;
  }
  return out;
}

std::string one_line(std::string_view text, std::size_t limit) {
  std::string out;
  bool gap = false;
  for (std::size_t at = 0; at < text.size();) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (c <= 0x20 || c == 0x7f) {
      gap = !out.empty();
      ++at;
      continue;
    }
    const std::size_t length = sequence_length(text, at);
    const std::string_view piece = length ? text.substr(at, length) : std::string_view("?");
    if (out.size() + gap + piece.size() > limit) {
      out += "...";
      return out;
    }
    if (gap) out += ' ';
    gap = false;
    out += piece;
    at += length ? length : 1;
  }
  return out;
}

std::string errno_text(int error) {
  return std::error_code(error, std::generic_category()).message();
}

}  // namespace smarmd::plugin
