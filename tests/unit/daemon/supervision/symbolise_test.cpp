#include "daemon/supervision/symbolise.hpp"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <array>
#include <string>

TEST_CASE("a frame of a shared library is named with its offset and its file") {
  // Not strlen and its like: their symbol is a chooser, what dlsym gives is one of the nameless
  // functions it chooses from.
  auto* function = reinterpret_cast<char*>(::dlsym(RTLD_DEFAULT, "getenv"));
  REQUIRE(function != nullptr);
  const std::array<void*, 1> frames = {function + 5};
  const std::string text = smarmd::symbolise(frames);
  CHECK(text.starts_with("#0 "));
  CHECK(text.find("getenv") != std::string::npos);
  CHECK(text.find("+0x5 (") != std::string::npos);
  CHECK(text.find("libc.so") != std::string::npos);
}

TEST_CASE("what belongs to no file is shown as an address, one line per frame") {
  const std::array<void*, 2> frames = {nullptr, reinterpret_cast<void*>(0x10)};
  CHECK(smarmd::symbolise(frames) == "#0 0x0\n#1 0x10");
  CHECK(smarmd::symbolise({}).empty());
}
