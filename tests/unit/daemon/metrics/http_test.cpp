#include "daemon/metrics/http.hpp"

#include <doctest/doctest.h>

using namespace smarmd;

namespace {

HttpParse parse(std::string_view bytes) {
  HttpRequest request;
  return parse_http(bytes, request);
}

}  // namespace

TEST_CASE("metrics http: a scraper's request is understood") {
  HttpRequest request;
  CHECK(parse_http("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nAccept: "
                   "text/plain;version=0.0.4;q=0.5, */*\r\nUser-Agent: x\r\n\r\n",
                   request) == HttpParse::complete);
  CHECK(request.method == "GET");
  CHECK(request.path == "/metrics");
  CHECK(parse("GET / HTTP/1.0\r\n\r\n") == HttpParse::complete);
  CHECK(parse("GET / HTTP/1.1\r\nhOST:a\r\nContent-Length: 0\r\n\r\n") == HttpParse::complete);
}

TEST_CASE("metrics http: every beginning of a request is incomplete") {
  const std::string whole = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    CHECK(parse(std::string_view(whole).substr(0, n)) == HttpParse::incomplete);
  }
  CHECK(parse(whole) == HttpParse::complete);
}

TEST_CASE("metrics http: what is not a request is malformed") {
  for (const char* bytes :
       {"\r\n\r\n", "GET\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/2.0\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\nb: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    CAPTURE(bytes);
    CHECK(parse(bytes) == HttpParse::malformed);
  }
}

TEST_CASE("metrics http: an answer says its length and closes") {
  CHECK(http_answer(405, "text/plain", "no\n", "Allow: GET\r\n") ==
        "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain\r\nContent-Length: "
        "3\r\nConnection: close\r\nAllow: GET\r\n\r\nno\n");
}
