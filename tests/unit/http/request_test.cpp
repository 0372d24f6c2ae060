// The parser of the http plugin: what it takes, what it refuses with which status, and that the
// pieces in which a request comes make no difference.
#include "plugins/http/request.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <string_view>

using namespace http;
using namespace std::string_literals;
using Result = RequestParser::Result;

namespace {

constexpr std::size_t kMax = 512;

struct Outcome {
  Result result;
  int status = 0;        // when refused
  std::size_t size = 0;  // when complete
  bool operator==(const Outcome&) const = default;
};

Outcome outcome(const RequestParser& parser, Result result) {
  return {result, result == Result::refused ? static_cast<int>(parser.refusal()) : 0,
          result == Result::complete ? parser.size() : 0};
}

// Fed as a whole.
Outcome whole(std::string_view bytes) {
  RequestParser parser(kMax);
  return outcome(parser, parser.parse(bytes));
}

// Fed in pieces, to the first answer that is final.
Outcome in_pieces(std::string_view bytes, std::size_t piece) {
  RequestParser parser(kMax);
  Result result = Result::incomplete;
  for (std::size_t n = 0; n < bytes.size() && result == Result::incomplete;) {
    n = std::min(n + piece, bytes.size());
    result = parser.parse(bytes.substr(0, n));
  }
  return outcome(parser, result);
}

void check_pieces(std::string_view bytes) {
  const Outcome expected = whole(bytes);
  for (const std::size_t piece : {1U, 2U, 3U, 7U, 64U}) {
    CAPTURE(piece);
    CHECK(in_pieces(bytes, piece) == expected);
  }
}

Request parsed(std::string_view bytes) {
  RequestParser parser(kMax);
  REQUIRE(parser.parse(bytes) == Result::complete);
  return parser.request();
}

std::string get(std::string_view fields) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

}  // namespace

TEST_SUITE("http request") {
  TEST_CASE("a request that is right") {
    static const std::string kGood[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.9\r\nHost:\r\n\r\n",
        "GET http://a.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "BREW-!#$%&'*+.^_`|~ /pot HTTP/1.1\r\nHost: a\r\n\r\n",
        get("X:\r\n"),
        get("X: \t \r\n"),
        get("X-Y_z!: a b\tc\r\n"),
        get("X: \xc3\xa4\x80\xff\r\n"),
        get("Host2: a\r\n"),
        get("Content-Length: 0\r\n"),
        get("content-LENGTH:\t10 \r\n"),
        get("Content-Length: 99999999999999999999999999\r\n"),
        "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
    };
    for (const std::string& bytes : kGood) {
      CAPTURE(bytes);
      CHECK(whole(bytes) == Outcome{Result::complete, 0, bytes.size()});
      check_pieces(bytes);
      // What follows is not looked at.
      CHECK(whole(bytes + "\0\r\r\n"s) == Outcome{Result::complete, 0, bytes.size()});
      // And no beginning of it is enough, or wrong.
      for (std::size_t n = 0; n < bytes.size(); ++n) {
        CAPTURE(n);
        CHECK(whole(bytes.substr(0, n)) == Outcome{Result::incomplete});
      }
    }
  }

  TEST_CASE("a request that is refused") {
    struct Bad {
      int status;
      std::string bytes;
    };
    static const Bad kBad[] = {
        // the request line
        {400, "\r\n\r\n"},
        {400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"},
        {400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"},
        {400, "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s},
        {400, "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /#top HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /\r\n\r\n"},
        {400, "GET\r\n\r\n"},
        {400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, " / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET / http/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.10\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/11\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1,1\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/a.1\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTPS/1.1\r\nHost: a\r\n\r\n"},
        {400, "\x16\x03\x01\x02\n"},
        {505, "GET / HTTP/0.9\r\n\r\n"},
        {505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
        {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        // fields
        {400, get("X\r\n")},
        {400, get(": x\r\n")},
        {400, get("X : x\r\n")},
        {400, get("X\t: x\r\n")},
        {400, get("X Y: x\r\n")},
        {400, get("X(: x\r\n")},
        {400, get("\xc3\xa4: x\r\n")},
        {400, get("X: a\r\n b\r\n")},
        {400, get("X: a\r\n\tb\r\n")},
        {400, get(" X: a\r\n")},
        {400, get("X: a\nY: b\r\n")},
        {400, get("X: a\rY: b\r\n")},
        {400, get("X: a\0b\r\n"s)},
        {400, get("X: a\x01\r\n")},
        {400, get("X: a\x7f\r\n")},
        {400, "GET / HTTP/1.1\r\nHost: a\r\n\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\n\r\n"},
        // Host
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},
        {400, get("Host: a\r\n")},
        {400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"},
        // where the body ends
        {400, get("Content-Length:\r\n")},
        {400, get("Content-Length: -1\r\n")},
        {400, get("Content-Length: +1\r\n")},
        {400, get("Content-Length: 0x1\r\n")},
        {400, get("Content-Length: 1 2\r\n")},
        {400, get("Content-Length: 1, 1\r\n")},
        {400, get("Content-Length: 1\r\nContent-Length: 2\r\n")},
        {400, get("Content-Length: 1\r\nContent-Length: 1\r\n")},
        {400, get("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")},
        {400, get("Transfer-Encoding: identity\r\nContent-Length: 1\r\n")},
        {400, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {501, get("Transfer-Encoding: chunked\r\n")},
        {501, get("transfer-encoding:\r\n")},
        // too long, with and without an end
        {414, "GET /" + std::string(kMax, 'a')},
        {414, "GET /" + std::string(kMax, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n"},
        {431, get("X: " + std::string(kMax, 'x'))},
        {431, get("X: " + std::string(kMax, 'x') + "\r\n")},
        {431, get(std::string(kMax / 4, 'X') + ": x\r\n" + std::string(kMax, 'X'))},
    };
    for (const auto& [status, bytes] : kBad) {
      CAPTURE(bytes);
      CHECK(whole(bytes) == Outcome{Result::refused, status});
      check_pieces(bytes);
    }
  }

  TEST_CASE("the limit is that of the whole head, its last byte included") {
    const std::string frame = get("X: \r\n");
    const std::string fits = get("X: " + std::string(kMax - frame.size(), 'x') + "\r\n");
    REQUIRE(fits.size() == kMax);
    CHECK(whole(fits) == Outcome{Result::complete, 0, kMax});
    check_pieces(fits);
    const std::string larger = get("X: " + std::string(kMax - frame.size() + 1, 'x') + "\r\n");
    CHECK(whole(larger) == Outcome{Result::refused, 431});
    check_pieces(larger);
  }

  TEST_CASE("every byte, anywhere in a request, is answered the same way in any pieces") {
    const std::string good = "GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    std::size_t refused = 0;
    for (std::size_t at = 0; at < good.size(); ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string bytes = good;
        bytes[at] = static_cast<char>(byte);
        const Outcome expected = whole(bytes);
        refused += expected.result == Result::refused;
        if (in_pieces(bytes, 1) != expected) {
          CAPTURE(at);
          CAPTURE(byte);
          FAIL_CHECK("in single bytes it is another answer");
        }
      }
    }
    CHECK(refused > good.size() * 100);
  }

  TEST_CASE("after the bytes have moved the parser starts over") {
    const std::string first = "GET /a HTTP/1.1\r\nHost: a\r\n";
    RequestParser parser(kMax);
    CHECK(parser.parse(first) == Result::incomplete);
    parser.reset();
    const std::string moved = first + "Range: bytes=1-2\r\n\r\n";
    REQUIRE(parser.parse(moved) == Result::complete);
    CHECK(parser.request().target.data() == moved.data() + 4);
    CHECK(parser.request().range == "bytes=1-2");
  }

  TEST_CASE("what a request says") {
    CHECK(parsed(get("")).method == Method::get);
    CHECK(parsed("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").method == Method::head);
    CHECK(parsed("get / HTTP/1.1\r\nHost: a\r\n\r\n").method == Method::other);
    CHECK(parsed("GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n").target == "/a?b");
    CHECK(parsed(get("Content-Length: 0012\r\n")).content_length == 12);
    CHECK(parsed(get("Content-Length: 18446744073709551616\r\n")).content_length == UINT64_MAX);
    CHECK(parsed(get("If-Modified-Since:  x y \r\n")).if_modified_since == "x y");
    CHECK(parsed(get("RANGE:bytes=0-\r\nif-range: e\r\n")).range == "bytes=0-");
    CHECK(parsed(get("If-Range: e\r\n")).if_range == "e");
    CHECK(parsed(get("Expect: 100-continue\r\n")).expects);
    CHECK_FALSE(parsed("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects);
  }

  TEST_CASE("whether the connection is kept") {
    struct Case {
      bool kept_1_1, kept_1_0;
      std::string fields;
    };
    for (const auto& [kept_1_1, kept_1_0, fields] : {
             Case{true, false, ""},
             Case{false, false, "Connection: close\r\n"},
             Case{false, false, "Connection: CLOSE\r\n"},
             Case{true, true, "Connection: Keep-Alive\r\n"},
             Case{true, true, "Connection: , upgrade ,\tkeep-alive\r\n"},
             Case{false, false, "Connection: keep-alive, close\r\n"},
             Case{false, false, "Connection: close\r\nConnection: keep-alive\r\n"},
             Case{true, false, "Connection: closed, xclose, keep-alives\r\n"},
         }) {
      CAPTURE(fields);
      CHECK(parsed(get(fields)).keep_alive == kept_1_1);
      CHECK(parsed("GET / HTTP/1.0\r\n" + fields + "\r\n").keep_alive == kept_1_0);
    }
  }

  TEST_CASE("the path of a target") {
    CHECK(path_of("/") == "/");
    CHECK(path_of("/a/b?c=/d?e") == "/a/b");
    CHECK(path_of("/?x") == "/");
    CHECK(path_of("//a/b") == "//a/b");
    CHECK(path_of("http://a.example/b?c") == "/b");
    CHECK(path_of("HTTP://a.example") == "/");
    CHECK(path_of("https://a.example?x/y") == "/");
    CHECK(path_of("http:///b").empty());
    CHECK(path_of("http://").empty());
    CHECK(path_of("ftp://a/b").empty());
    CHECK(path_of("*").empty());
    CHECK(path_of("a").empty());
    CHECK(path_of("?").empty());
  }
}
