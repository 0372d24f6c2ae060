#include "daemon/config/document.hpp"

#include <doctest/doctest.h>

using namespace smarmd;
using namespace smarmd::configuration;

TEST_SUITE_BEGIN("config: document");

namespace {

Document parsed(std::string_view text) {
  std::vector<ConfigError> errors;
  auto document = parse_document("f", text, errors);
  REQUIRE(errors.empty());
  REQUIRE(document.has_value());
  return *document;
}

std::pair<std::size_t, std::size_t> place(const Document& d, std::string pointer) {
  const ConfigError e = d.error_at(std::move(pointer), "m");
  return {e.line, e.column};
}

using At = std::pair<std::size_t, std::size_t>;

}  // namespace

TEST_CASE("a document has the value that nlohmann reads") {
  const char* text =
      R"({"a": [1, -2, 3.5, "x\u00e9", true, false, null, {}, []], "b": {"c": {"d": 18446744073709551615}}, "": -9223372036854775808})";
  CHECK(parsed(text).root == Json::parse(text));
  CHECK(parsed("7").root == 7);
  CHECK(parsed(" \"s\" ").root == "s");
}

TEST_CASE("a member's place is its key, an element's its value") {
  const Document d = parsed(
      "{\n  \"a\" : [ 10,20\n,{\"x\":1}, \"s\"],\n\t\"b\": {\"c\": 1.5e3}, \"d\":-1,\"e\":null\n}");
  CHECK(place(d, "") == At{1, 1});
  CHECK(place(d, "/a") == At{2, 3});
  CHECK(place(d, "/a/0") == At{2, 11});
  CHECK(place(d, "/a/1") == At{2, 14});
  CHECK(place(d, "/a/2") == At{3, 2});
  CHECK(place(d, "/a/2/x") == At{3, 3});
  CHECK(place(d, "/a/3") == At{3, 11});
  CHECK(place(d, "/b") == At{4, 2});
  CHECK(place(d, "/b/c") == At{4, 8});
  CHECK(place(d, "/d") == At{4, 21});
  CHECK(place(d, "/e") == At{4, 28});
}

TEST_CASE("a place counts bytes and escapes are no trap") {
  const Document d = parsed("{\"\\u0041\\\"\": {\"k\": 1}, \"\xc3\xa9\": 2, \"z\": 3}");
  CHECK(place(d, "/A\"") == At{1, 2});
  CHECK(place(d, "/A\"/k") == At{1, 15});
  CHECK(place(d, "/\xc3\xa9") == At{1, 24});
  CHECK(place(d, "/z") == At{1, 33});
}

TEST_CASE("a pointer that is not in the document has no place") {
  CHECK(place(parsed("{}"), "/nope") == At{0, 0});
  CHECK(parsed("{}").error_at("/nope", "m").text() == "f: /nope: m");
}

TEST_CASE("tokens are escaped as RFC 6901 says") {
  CHECK(escape_token("a/b~c") == "a~1b~0c");
  CHECK(escape_token("~1") == "~01");
  CHECK(escape_token("") == "");
}

TEST_CASE("parsing goes on behind a duplicate key") {
  std::vector<ConfigError> errors;
  const auto d = parse_document("f", "{\"a\": 1,\n \"a\": 2, \"b\": {\"c\": 1, \"c\": 1}}", errors);
  REQUIRE(d.has_value());
  CHECK(d->root == Json::parse(R"({"a": 2, "b": {"c": 1}})"));
  REQUIRE(errors.size() == 2);
  CHECK(errors[0].text() == "f:2:2: /a: the key stands twice in one object (keep one of them)");
  CHECK(errors[1].text() == "f:2:24: /b/c: the key stands twice in one object (keep one of them)");
}

TEST_SUITE_END();
