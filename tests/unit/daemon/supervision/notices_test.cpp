// Which plugin the runtime's notices are about.
#include "daemon/supervision/notices.hpp"

#include <doctest/doctest.h>

using smarmd::plugin_of_image;

TEST_SUITE("notices") {
  TEST_CASE("a private copy names its plugin") {
    CHECK(plugin_of_image("/var/lib/smarmd/images/echo.g1.so") == "echo");
    CHECK(plugin_of_image("echo-2_x.g120.so") == "echo-2_x");
    CHECK(plugin_of_image("a.g1.g2.so") == "a.g1");
  }
  TEST_CASE("other files name none") {
    for (const char* file : {"", "/", "echo.so", "echo.g1", "echo.g.so", "echo.1.so",
                             "/x/libc.so.6", "g1.so", ".g1.so", "1.so"}) {
      CAPTURE(std::string(file));
      CHECK(plugin_of_image(file).empty());
    }
  }
}
