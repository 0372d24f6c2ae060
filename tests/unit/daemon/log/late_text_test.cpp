#include "daemon/log/late_text.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

using smarmd::LateText;

TEST_CASE("a late text is made by its first reader, once, for all its copies") {
  int made = 0;
  const LateText late([&made] { return "made " + std::to_string(++made); });
  const LateText copy = late;
  CHECK_FALSE(late.none());
  CHECK(made == 0);
  CHECK(copy.text() == "made 1");
  CHECK(late.text() == "made 1");
  CHECK(made == 1);
}

TEST_CASE("who must not wait is given the text only when it is there") {
  const LateText late([]() -> std::string { return "words"; });
  CHECK(late.if_made().none());
  CHECK(late.text() == "words");
  CHECK(late.if_made().text() == "words");
  CHECK(LateText().if_made().none());
}

TEST_CASE("a text that cannot be made says why") {
  const LateText late([]() -> std::string { throw std::runtime_error("no memory"); });
  CHECK(late.text() == "(not to be had: no memory)");
  CHECK(late.text() == "(not to be had: no memory)");
}
