#include "daemon/metrics/http.hpp"

#include <algorithm>

namespace smarmd {
namespace {

bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kMarks.contains(c);
  });
}

bool same_word(std::string_view a, std::string_view lower) {
  return a.size() == lower.size() && std::ranges::equal(a, lower, [](char x, char y) {
           return (x >= 'A' && x <= 'Z' ? static_cast<char>(x - 'A' + 'a') : x) == y;
         });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// "GET /metrics HTTP/1.1"; the version's minor digit, or nothing.
std::optional<int> parse_request_line(std::string_view line, HttpRequest& request) {
  const std::size_t first = line.find(' '), last = line.rfind(' ');
  if (first == line.npos || last == first) return std::nullopt;
  const std::string_view method = line.substr(0, first),
                         target = line.substr(first + 1, last - first - 1),
                         version = line.substr(last + 1);
  const bool printable = std::ranges::all_of(target, [](char c) { return c > ' ' && c < 0x7f; });
  if (!is_token(method) || !target.starts_with('/') || !printable) return std::nullopt;
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return std::nullopt;
  request.method = method;
  request.path = target.substr(0, target.find('?'));
  return version.back() - '0';
}

// Header fields up to the empty line.
bool check_fields(std::string_view fields, int minor) {
  int hosts = 0;
  while (!fields.empty()) {
    const std::size_t end = fields.find("\r\n");
    const std::string_view line = fields.substr(0, end);
    fields.remove_prefix(end + 2);
    const std::size_t colon = line.find(':');
    if (colon == line.npos || !is_token(line.substr(0, colon))) return false;
    const std::string_view name = line.substr(0, colon), value = trim(line.substr(colon + 1));
    if (std::ranges::any_of(value,
                            [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 0x7f; }))
      return false;
    if (same_word(name, "host")) ++hosts;
    if (same_word(name, "transfer-encoding")) return false;
    if (same_word(name, "content-length") && value != "0") return false;
  }
  return minor == 0 ? hosts <= 1 : hosts == 1;
}

std::string_view reason_of(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 431: return "Request Header Fields Too Large";
    case 503: return "Service Unavailable";
    default: return "Internal Server Error";
  }
}

}  // namespace

HttpParse parse_http(std::string_view bytes, HttpRequest& request) {
  const std::size_t end = bytes.find("\r\n\r\n");
  const std::size_t line_end = bytes.find("\r\n");
  if (line_end == bytes.npos) return HttpParse::incomplete;
  const auto minor = parse_request_line(bytes.substr(0, line_end), request);
  if (!minor) return HttpParse::malformed;
  if (end == bytes.npos) return HttpParse::incomplete;
  const std::string_view fields =
      bytes.substr(line_end + 2, end - line_end);  // each with its CRLF; empty when there is none
  return check_fields(fields, *minor) ? HttpParse::complete : HttpParse::malformed;
}

std::string http_answer(int status, std::string_view content_type, std::string_view body,
                        std::string_view extra_headers) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " ";
  out += reason_of(status);
  out += "\r\nContent-Type: ";
  out += content_type;
  out += "\r\nContent-Length: " + std::to_string(body.size());
  out += "\r\nConnection: close\r\n";
  out += extra_headers;
  out += "\r\n";
  out += body;
  return out;
}

}  // namespace smarmd
