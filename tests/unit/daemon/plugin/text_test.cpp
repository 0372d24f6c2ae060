#include "daemon/plugin/text.hpp"

#include <doctest/doctest.h>

using namespace smarmd::plugin;

TEST_CASE("one_line makes one line") {
  CHECK(one_line("") == "");
  CHECK(one_line("  a\n\tb \r\n") == "a b");
  CHECK(one_line("a\x1b[0mb") == "a [0mb");
  CHECK(one_line("caf\xc3\xa9") == "caf\xc3\xa9");
  CHECK(one_line("\xff\xfe") == "??");
  CHECK(one_line("abcdef", 4) == "abcd...");
  CHECK(one_line("abc\xc3\xa9", 4) == "abc...");
}

TEST_CASE("is_utf8 takes no overlong forms, no surrogates, nothing past U+10FFFF") {
  CHECK(is_utf8("plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"));
  CHECK_FALSE(is_utf8("\xc0\x80"));
  CHECK_FALSE(is_utf8("\xe0\x80\x80"));
  CHECK_FALSE(is_utf8("\xed\xa0\x80"));
  CHECK_FALSE(is_utf8("\xf4\x90\x80\x80"));
  CHECK_FALSE(is_utf8("\xe2\x82"));
  CHECK_FALSE(is_utf8("\x80"));
}
