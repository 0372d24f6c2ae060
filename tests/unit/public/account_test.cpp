// What is counted for an actor and for an account.
#include "tests/runner/cases.hpp"
#include "tests/unit/public/account_support.hpp"

#include <unistd.h>
#include <x86intrin.h>

#include <cstring>
#include <limits>

using namespace test;

namespace {

smarm_account_stats read_account(std::uint64_t account) {
  smarm_account_stats s{};
  s.struct_size = sizeof s;
  REQUIRE(smarm_account_read(account, &s) == SMARM_OK);
  return s;
}

smarm_actor_stats read_actor(smarm::Pid pid) {
  smarm_actor_stats s{};
  s.struct_size = sizeof s;
  REQUIRE(smarm_actor_read(pid.raw(), &s) == SMARM_OK);
  return s;
}

// Allocates until it has been preempted so often itself.
void allocate_until_preempted(std::uint64_t times) {
  while (read_actor(smarm::self_pid()).preempted_alloc < times) allocate();
}

smarm::Config eager(unsigned workers) {
  return smarm::Config::exact(workers).alloc_interval(1).timeslice_cycles(2000);
}

}  // namespace

TEST_SUITE("public account") {
  TEST_CASE("preemptions count for the actor and for the account of its group, ended ones too") {
    for_each_worker_count([](unsigned workers) {
      const Account seven(7, {70, 71}), eight(8, {80});
      const std::uint64_t nobody = read_account(0).preempted_alloc;
      run_with(eager(workers), [&] {
        auto a = spawn_in(70, [] { allocate_until_preempted(20); });
        auto b =
            spawn_in(71, [] { (void)smarm::spawn([] { allocate_until_preempted(30); }).join(); });
        auto c = spawn_in(80, [] { allocate_until_preempted(40); });
        auto d = spawn_in(90, [] { allocate_until_preempted(5); });
        const smarm::Pid ended = a.pid();
        smarm::join_all(a, b, c, d);
        smarm_actor_stats s{};
        s.struct_size = sizeof s;
        CHECK(smarm_actor_read(ended.raw(), &s) == SMARM_E_STALE);
      });
      CHECK(read_account(7).preempted_alloc >= 50);
      CHECK(read_account(8).preempted_alloc >= 40);
      CHECK(read_account(0).preempted_alloc - nobody >= 5);
      CHECK(read_account(7).preempted_async == 0);
    });
  }

  BLOCKED_CASE("an actor that blocks its thread counts for its account") {
    for_each_worker_count([](unsigned workers) {
      const Account seven(7, {70}), eight(8, {80});
      run_with(smarm::Config::exact(workers), [] {
        auto idle = spawn_in(80, [] { smarm::sleep(1ms); });
        auto blocks = spawn_in(70, [] {
          // until it is found, however slow the machine is: each call blocks anew
          while (read_account(7).blocked == 0) ::usleep(50'000);
        });
        smarm::join_all(idle, blocks);
      });
      CHECK(read_account(7).blocked >= 1);
      CHECK(read_account(8).blocked == 0);
    });
  }

  TEST_CASE("all of a runtime's preemptions are somebody's") {
    for_each_worker_count([](unsigned workers) {
      const Account seven(7, {70});
      const std::uint64_t before = read_account(0).preempted_alloc;
      smarm::Runtime runtime = smarm::init(eager(workers));
      runtime.run([] {
        auto a = spawn_in(70, [] { allocate_until_preempted(100); });
        auto b = smarm::spawn([] { allocate_until_preempted(100); });
        smarm::join_all(a, b);
      });
      CHECK(runtime.stats().total.preempted_alloc ==
            read_account(7).preempted_alloc + read_account(0).preempted_alloc - before);
    });
  }

  TEST_CASE("a new actor begins at zero, whoever had its block before") {
    run_with(eager(1), [] {
      for (int i = 0; i < 3; ++i) {
        (void)smarm::spawn([] {
          CHECK(read_actor(smarm::self_pid()).preempted_alloc <= 1);
          allocate_until_preempted(10);
        }).join();
      }
    });
  }

  TEST_CASE("accounts open, close and are reused; an unbound group counts for nobody") {
    smarm_account_stats s{};
    s.struct_size = sizeof s;
    CHECK(smarm_account_read(5, &s) == SMARM_E_STALE);
    for (std::uint64_t life = 1; life <= 2000; ++life) {
      REQUIRE(smarm_group_bind(life, 5) == SMARM_OK);
      REQUIRE(smarm_group_bind(life, 0) == SMARM_OK);
    }
    run_with(eager(1), [] { (void)spawn_in(50, [] { allocate_until_preempted(10); }).join(); });
    CHECK(read_account(5).preempted_alloc == 0);
    CHECK(smarm_account_limit_mailboxes(5, 9) == SMARM_OK);
    smarm_account_close(5);
    CHECK(smarm_account_read(5, &s) == SMARM_E_STALE);
    REQUIRE(smarm_group_bind(50, 6) == SMARM_OK);
    CHECK(read_account(6).mailbox_limit == 0);
    smarm_account_close(6);
    run_with(eager(1), [] { (void)spawn_in(50, [] { allocate_until_preempted(10); }).join(); });
    CHECK(smarm_account_read(6, &s) == SMARM_E_STALE);
  }

  TEST_CASE("a caller with a shorter struct gets what it has room for") {
    smarm_account_stats s{};
    s.struct_size = offsetof(smarm_account_stats, mailbox_limit);
    s.mailbox_limit = 12345;
    REQUIRE(smarm_account_limit_mailboxes(5, 9) == SMARM_OK);
    CHECK(smarm_account_read(5, &s) == SMARM_OK);
    CHECK(s.mailbox_limit == 12345);
    smarm_account_close(5);
  }

  SIGNAL_CASE("preemptions by signal are told apart") {
    for_each_worker_count([](unsigned workers) {
      const Account seven(7, {70});
      using namespace std::chrono_literals;
      run_with(smarm::Config::exact(workers).async_preempt(100us), [] {
        auto hog = spawn_in(70, [] {
          const std::uint64_t began = __rdtsc();
          while (read_actor(smarm::self_pid()).preempted_async < 5 &&
                 __rdtsc() - began < 60'000'000'000ull) {
            // Long enough between two calls, which lie in the runtime.
            const std::uint64_t start = __rdtsc();
            while (__rdtsc() - start < 1'000'000) _mm_pause();
          }
          CHECK(read_actor(smarm::self_pid()).preempted_async >= 5);
        });
        CHECK(hog.join());
      });
      CHECK(read_account(7).preempted_async >= 5);
    });
  }
}
