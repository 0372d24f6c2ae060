// The little of HTTP/1.1 (RFC 9112) that a metrics page needs. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace smarmd {

struct HttpRequest {
  std::string method;
  std::string path;  // without the query
};

enum class HttpParse { incomplete, complete, malformed };

// Reads a request head, lines ended by CRLF. Malformed: anything that is not a request line and
// header fields by the grammar, HTTP/1.1 without one Host, a body, a version other than 1.0
// and 1.1, a target that is not a path.
HttpParse parse_http(std::string_view bytes, HttpRequest& request);

// A whole answer, after which the connection closes. extra_headers: lines with their CRLF.
std::string http_answer(int status, std::string_view content_type, std::string_view body,
                        std::string_view extra_headers = {});

}  // namespace smarmd
