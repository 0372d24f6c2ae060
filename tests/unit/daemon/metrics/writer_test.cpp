#include "daemon/metrics/writer.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace smarmd;

TEST_CASE("metrics writer: a page in the text format") {
  MetricsWriter page;
  page.family("smarm_actors", MetricType::gauge, "Live actors of a plugin.");
  page.sample({{"plugin", "echo"}}, 12);
  page.sample({{"plugin", "primes"}, {"state", "parked"}}, 3U);
  page.family("smarm_restarts_total", MetricType::counter, "Restarts.");
  page.sample(std::numeric_limits<std::uint64_t>::max());
  CHECK(std::move(page).text() ==
        "# HELP smarm_actors Live actors of a plugin.\n"
        "# TYPE smarm_actors gauge\n"
        "smarm_actors{plugin=\"echo\"} 12\n"
        "smarm_actors{plugin=\"primes\",state=\"parked\"} 3\n"
        "# HELP smarm_restarts_total Restarts.\n"
        "# TYPE smarm_restarts_total counter\n"
        "smarm_restarts_total 18446744073709551615\n");
}

TEST_CASE("metrics writer: label values and help are escaped") {
  MetricsWriter page;
  page.family("smarm_info", MetricType::gauge, "a \"quote\", a \\ and a\nline");
  page.sample({{"reason", "a \"quote\", a \\ and a\nline"}}, 1);
  CHECK(std::move(page).text() ==
        "# HELP smarm_info a \"quote\", a \\\\ and a\\nline\n"
        "# TYPE smarm_info gauge\n"
        "smarm_info{reason=\"a \\\"quote\\\", a \\\\ and a\\nline\"} 1\n");
}

TEST_CASE("metrics writer: what is not UTF-8 does not reach the page") {
  MetricsWriter page;
  page.family("smarm_x", MetricType::gauge, "x");
  page.sample({{"file", "a\xff\"b\xc3\xa9\xc3"}}, 1);
  CHECK(std::move(page).text() ==
        "# HELP smarm_x x\n# TYPE smarm_x gauge\nsmarm_x{file=\"a?\\\"b\xc3\xa9?\"} 1\n");
}

TEST_CASE("metrics writer: numbers that are not whole, and not numbers") {
  MetricsWriter page;
  page.family("smarm_x", MetricType::gauge, "x");
  page.sample(0.1);
  page.sample(1e300);
  page.sample(std::nan(""));
  page.sample({{"a", "b"}}, -std::numeric_limits<double>::infinity());
  CHECK(std::move(page).text() ==
        "# HELP smarm_x x\n# TYPE smarm_x gauge\nsmarm_x 0.1\nsmarm_x 1e+300\nsmarm_x "
        "NaN\nsmarm_x{a=\"b\"} -Inf\n");
}
