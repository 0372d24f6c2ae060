// Pid is a plain value.
#include "tests/unit/public/support.hpp"

#include <string>
#include <unordered_set>

using namespace test;

TEST_SUITE("public pid") {
  TEST_CASE("a pid is its index and generation") {
    constexpr smarm::Pid pid(7, 3);
    static_assert(pid.index() == 7 && pid.generation() == 3);
    static_assert(smarm::Pid(pid.raw()) == pid);
    static_assert(smarm::Pid(7, 4) != pid && smarm::Pid(7, 4) > pid && smarm::Pid(8, 1) > pid);
    CHECK(pid.to_string() == "7.3");
    std::unordered_set<smarm::Pid> set{pid, smarm::Pid(3, 7), smarm::Pid(7, 3)};
    CHECK(set.size() == 2);
  }

  TEST_CASE("ROOT_PID is {0, 0} and never an actor") {
    static_assert(smarm::ROOT_PID == smarm::Pid() && smarm::ROOT_PID.generation() == 0);
    run_at_each_worker_count([] {
      CHECK(smarm::self_pid() != smarm::ROOT_PID);
      CHECK(smarm::self_pid().generation() != 0);
      CHECK_FALSE(smarm::unpark(smarm::ROOT_PID));
      CHECK_FALSE(smarm::kill(smarm::ROOT_PID));
      CHECK_FALSE(smarm::stop(smarm::ROOT_PID));
    });
  }
}
