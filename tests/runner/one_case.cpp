// One case, so that meson can see how the runner ends with and without a match.
#include <doctest/doctest.h>

TEST_CASE("a case that passes") { CHECK(1 + 1 == 2); }
