#include <doctest/doctest.h>

#include <smarm/smarm.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <map>

#include <nlohmann/json.hpp>

#include "daemon/log/logger.hpp"
#include "tests/unit/daemon/control/support.hpp"

using namespace smarmd;

TEST_CASE("logger: actors that are preempted at every allocation log without waiting or losing") {
  constexpr int kActors = 50, kEach = 40;
  for (unsigned workers : {1U, 2U, 4U}) {
    CAPTURE(workers);
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    const plugin::UniqueFd writer(ends[0]);
    test::RawClient reader{plugin::UniqueFd(ends[1])};
    LoggerOptions options;
    options.fd = writer.get();
    options.format = LogFormat::json;
    Logger logger(options);

    smarm::Runtime runtime(smarm::Config::exact(workers).alloc_interval(1).timeslice_cycles(1000));
    runtime.run([&logger] {
      for (int a = 0; a < kActors; ++a) {
        (void)smarm::spawn([&logger, a] {
          for (int i = 0; i < kEach; ++i) {
            logger.log(Level::info, "test", "a text that is too long to be kept in place",
                       {{"actor", a}, {"number", i}});
          }
        });
      }
    });

    std::map<int, int> next;
    bool in_order = true;
    for (int i = 0; i < kActors * kEach; ++i) {
      const auto line = reader.line();
      REQUIRE(line.has_value());
      const auto record = nlohmann::json::parse(*line);
      in_order &= record["number"] == next[record["actor"].get<int>()]++;
    }
    CHECK(in_order);
    CHECK(logger.stats().lost == 0);
    CHECK(runtime.stats().total.preempted_alloc > 0);  // else this test has shown nothing
  }
}
