#include "request.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace http {

namespace {

enum Class : unsigned char {
  kToken = 1,   // a letter of a method or a field's name
  kTarget = 2,  // of a request's target: what is visible, but for '#'
  kValue = 4,   // of a field's value
  kHost = 8,    // of the value of Host
};

constexpr std::array<unsigned char, 256> make_classes() {
  std::array<unsigned char, 256> classes{};
  const auto mark = [&](std::string_view letters, unsigned char c) {
    for (const unsigned char letter : letters) classes[letter] |= c;
  };
  for (int c = 0x21; c <= 0x7e; ++c) classes[c] |= kTarget | kValue;
  classes['#'] = kValue;
  for (int c = 0x80; c <= 0xff; ++c) classes[c] |= kValue;
  mark(" \t", kValue);
  for (int c = '0'; c <= '9'; ++c) classes[c] |= kToken | kHost;
  for (int c = 'A'; c <= 'Z'; ++c) classes[c] |= kToken | kHost;
  for (int c = 'a'; c <= 'z'; ++c) classes[c] |= kToken | kHost;
  mark("!#$%&'*+-.^_`|~", kToken);
  mark("-._~%!$&'()*+,;=:[]", kHost);
  return classes;
}
constexpr std::array<unsigned char, 256> kClasses = make_classes();

bool all(std::string_view text, Class c) {
  return std::ranges::all_of(text, [&](unsigned char letter) { return kClasses[letter] & c; });
}

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}

// A length that is no number of this machine is too large, whatever the limit.
bool parse_length(std::string_view text, std::uint64_t& length) {
  if (text.empty() || !std::ranges::all_of(text, is_digit)) return false;
  length = 0;
  for (const char c : text) {
    const auto digit = static_cast<std::uint64_t>(c - '0');
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    length = length > (most - digit) / 10 ? most : length * 10 + digit;
  }
  return true;
}

}  // namespace

bool equal_ignoring_case(std::string_view text, std::string_view known) {
  return text.size() == known.size() &&
         std::ranges::equal(text, known, [](char a, char b) { return lower(a) == b; });
}

RequestParser::Result RequestParser::parse(std::string_view bytes) {
  const std::string_view head = bytes.substr(0, max_bytes_);
  for (;;) {
    const std::size_t end = head.find('\n', scanned_);
    if (end == std::string_view::npos) {
      scanned_ = head.size();
      if (bytes.size() < max_bytes_) return Result::incomplete;
      refuse(in_fields_ ? Status::header_fields_too_large : Status::uri_too_long);
      return Result::refused;
    }
    if (end == line_ || head[end - 1] != '\r') return Result::refused;
    const std::string_view line = head.substr(line_, end - 1 - line_);
    const bool first = line_ == 0;
    line_ = scanned_ = end + 1;
    if (!in_fields_) {
      // Some clients send an empty line after a body.
      if (first && line.empty()) continue;
      if (!parse_request_line(line)) return Result::refused;
      in_fields_ = true;
    } else if (line.empty()) {
      return finish() ? Result::complete : Result::refused;
    } else if (!parse_field(line)) {
      return Result::refused;
    }
  }
}

bool RequestParser::parse_request_line(std::string_view line) {
  const std::size_t after_method = line.find(' ');
  const std::size_t after_target = line.rfind(' ');
  if (after_method == std::string_view::npos || after_target == after_method) return false;
  const std::string_view method = line.substr(0, after_method);
  const std::string_view target = line.substr(after_method + 1, after_target - after_method - 1);
  const std::string_view version = line.substr(after_target + 1);
  if (method.empty() || !all(method, kToken)) return false;
  if (target.empty() || !all(target, kTarget)) return false;
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) ||
      version[6] != '.' || !is_digit(version[7]))
    return false;
  if (version[5] != '1') return refuse(Status::version_not_supported);
  // Methods are told apart by case.
  request_.method = method == "GET" ? Method::get : method == "HEAD" ? Method::head : Method::other;
  request_.target = target;
  request_.minor_version = version[7] - '0';
  return true;
}

bool RequestParser::parse_field(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view name = line.substr(0, colon);
  if (!all(name, kToken)) return false;  // a space before the colon, or a line that goes on
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (!all(value, kValue)) return false;

  const auto is = [&](std::string_view known) { return equal_ignoring_case(name, known); };
  switch (name.size()) {
    case 4:
      if (is("host")) {
        if (has_host_ || !all(value, kHost)) return false;
        has_host_ = true;
      }
      break;
    case 5:
      if (is("range")) request_.range = value;
      break;
    case 6:
      if (is("expect")) request_.expects = true;
      break;
    case 8:
      if (is("if-range")) request_.if_range = value;
      break;
    case 10:
      if (is("connection")) {
        for (std::size_t at = 0; at <= value.size();) {
          const std::size_t comma = std::min(value.find(',', at), value.size());
          const std::string_view option = trimmed(value.substr(at, comma - at));
          says_close_ |= equal_ignoring_case(option, "close");
          says_keep_alive_ |= equal_ignoring_case(option, "keep-alive");
          at = comma + 1;
        }
      }
      break;
    case 14:
      if (is("content-length")) {
        if (has_length_ || !parse_length(value, request_.content_length)) return false;
        has_length_ = true;
      }
      break;
    case 17:
      if (is("transfer-encoding")) has_coding_ = true;
      if (is("if-modified-since")) request_.if_modified_since = value;
      break;
    default: break;
  }
  return true;
}

bool RequestParser::finish() {
  const bool is_1_0 = request_.minor_version == 0;
  if (!has_host_ && !is_1_0) return false;
  // HTTP/1.0 has no codings: who sends one there is not understood by everybody in between.
  if (has_coding_) return !has_length_ && !is_1_0 ? refuse(Status::not_implemented) : false;
  request_.keep_alive = !says_close_ && (!is_1_0 || says_keep_alive_);
  if (is_1_0) request_.expects = false;
  return true;
}

std::string_view path_of(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!equal_ignoring_case(target.substr(0, scheme.size()), scheme)) continue;
    const std::size_t path = std::min(target.find_first_of("/?", scheme.size()), target.size());
    if (path == scheme.size()) return {};  // no host
    if (path == target.size() || target[path] == '?') return "/";
    target.remove_prefix(path);
    break;
  }
  if (!target.starts_with('/')) return {};
  return target.substr(0, target.find('?'));
}

}  // namespace http
