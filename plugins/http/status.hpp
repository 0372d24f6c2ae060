// The status codes that this server answers with.
#pragma once

#include <string_view>

namespace http {

enum class Status {
  ok = 200,
  partial_content = 206,
  moved_permanently = 301,
  not_modified = 304,
  bad_request = 400,
  forbidden = 403,
  not_found = 404,
  method_not_allowed = 405,
  request_timeout = 408,
  content_too_large = 413,
  uri_too_long = 414,
  range_not_satisfiable = 416,
  expectation_failed = 417,
  header_fields_too_large = 431,
  internal_error = 500,
  not_implemented = 501,
  unavailable = 503,
  version_not_supported = 505,
};

// The first line of the answer, up to the value of the Date field.
constexpr std::string_view start_of_head(Status status) {
  switch (status) {
    case Status::ok: return "HTTP/1.1 200 OK\r\nDate: ";
    case Status::partial_content: return "HTTP/1.1 206 Partial Content\r\nDate: ";
    case Status::moved_permanently: return "HTTP/1.1 301 Moved Permanently\r\nDate: ";
    case Status::not_modified: return "HTTP/1.1 304 Not Modified\r\nDate: ";
    case Status::bad_request: return "HTTP/1.1 400 Bad Request\r\nDate: ";
    case Status::forbidden: return "HTTP/1.1 403 Forbidden\r\nDate: ";
    case Status::not_found: return "HTTP/1.1 404 Not Found\r\nDate: ";
    case Status::method_not_allowed: return "HTTP/1.1 405 Method Not Allowed\r\nDate: ";
    case Status::request_timeout: return "HTTP/1.1 408 Request Timeout\r\nDate: ";
    case Status::content_too_large: return "HTTP/1.1 413 Content Too Large\r\nDate: ";
    case Status::uri_too_long: return "HTTP/1.1 414 URI Too Long\r\nDate: ";
    case Status::range_not_satisfiable: return "HTTP/1.1 416 Range Not Satisfiable\r\nDate: ";
    case Status::expectation_failed: return "HTTP/1.1 417 Expectation Failed\r\nDate: ";
    case Status::header_fields_too_large:
      return "HTTP/1.1 431 Request Header Fields Too Large\r\nDate: ";
    case Status::not_implemented: return "HTTP/1.1 501 Not Implemented\r\nDate: ";
    case Status::unavailable: return "HTTP/1.1 503 Service Unavailable\r\nDate: ";
    case Status::version_not_supported: return "HTTP/1.1 505 HTTP Version Not Supported\r\nDate: ";
    case Status::internal_error: break;
  }
  return "HTTP/1.1 500 Internal Server Error\r\nDate: ";
}

// "404 Not Found"
constexpr std::string_view text_of(Status status) {
  const std::string_view head = start_of_head(status).substr(std::string_view("HTTP/1.1 ").size());
  return head.substr(0, head.find('\r'));
}

}  // namespace http
