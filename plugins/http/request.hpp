// The head of a request: its line and its fields, by RFC 9112 and stricter where it leaves a
// choice.
//
// What two programs could read in two ways is refused, so that nothing can be smuggled past a
// proxy: a bare CR or LF, folded lines, a space before a colon, more than one Content-Length or
// Host, a Transfer-Encoding beside a length. Nothing is allocated and nothing is copied.
#pragma once

#include "status.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace http {

enum class Method { get, head, other };

// The texts lie in the bytes that were parsed.
struct Request {
  Method method = Method::other;
  std::string_view target;
  int minor_version = 1;   // HTTP/1.x
  bool keep_alive = true;  // what the client asks for
  bool expects = false;    // a field Expect, which only a version above 1.0 has
  std::uint64_t content_length = 0;
  std::string_view if_modified_since, range, if_range;
};

// Parses the head of one request. It is given the bytes from the request's first on, as many as
// there are, and again, with more behind them, as long as it says `incomplete`; each line is looked
// at once. When the bytes have been moved meanwhile it has to start over: `parser.reset()`.
class RequestParser {
 public:
  enum class Result { incomplete, complete, refused };

  explicit RequestParser(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  Result parse(std::string_view bytes);
  const Request& request() const { return request_; }  // when complete
  std::size_t size() const { return line_; }           // when complete: bytes of the head
  Status refusal() const { return refusal_; }          // when refused
  void reset() { *this = RequestParser(max_bytes_); }

 private:
  bool parse_request_line(std::string_view line);
  bool parse_field(std::string_view line);
  bool finish();
  bool refuse(Status status) { return refusal_ = status, false; }

  std::size_t max_bytes_;
  std::size_t line_ = 0;     // where the next line begins
  std::size_t scanned_ = 0;  // no line ends before
  Request request_;
  Status refusal_ = Status::bad_request;
  bool in_fields_ = false;
  bool has_host_ = false, has_length_ = false, has_coding_ = false;
  bool says_close_ = false, says_keep_alive_ = false;
};

// The path of a request's target, without its query: the target is a path or an absolute http URI.
// Empty when it is neither.
std::string_view path_of(std::string_view target);

// `known` is in lower case.
bool equal_ignoring_case(std::string_view text, std::string_view known);

}  // namespace http
