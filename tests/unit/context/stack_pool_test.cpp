#include "runtime/context/stack_pool.hpp"

#include "runtime/base/last_error.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/base/valgrind.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <string>
#include <vector>

namespace {

using namespace smarm;

constexpr std::uint8_t kClass = 2;  // 64 KiB

// How a child ends that touches one byte there: the signal, or 0.
int touch_in_child(volatile char* p) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    *p = 1;
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST_SUITE("stack pool") {
  TEST_CASE("a size finds the class whose slot holds it") {
    CHECK(stack_class_of(0) == 0);
    CHECK(stack_class_of(1) == 0);
    CHECK(stack_class_of(16 * 1024) == 0);
    CHECK(stack_class_of(16 * 1024 + 1) == 1);
    CHECK(stack_class_of(64 * 1024) == kClass);
    CHECK(stack_class_of(std::size_t{1} << 40) == kStackClasses - 1);
    CHECK(Stack{nullptr, kClass}.slot_size() == 64 * 1024);
    CHECK(Stack{nullptr, kClass}.guard_size() == 16 * 1024);
  }

  TEST_CASE(
      "the lower quarter of a slot is a guard, the rest is memory, with both kinds of guard") {
    for (GuardKind kind : {GuardKind::automatic, GuardKind::protect}) {
      StackPool pool(kind);
      std::vector<Stack> stacks(40);
      std::size_t got = 0;
      while (got < stacks.size()) {
        const std::size_t n = pool.acquire(kClass, &stacks[got], stacks.size() - got);
        REQUIRE(n > 0);
        got += n;
      }
      for (const Stack& s : {stacks.front(), stacks.back()}) {
        std::memset(s.bottom(), 7, static_cast<std::size_t>(s.top() - s.bottom()));
        CHECK(touch_in_child(s.top() - 1) == 0);
        CHECK(touch_in_child(s.bottom()) == 0);
        if (SMARM_ASAN || SMARM_TSAN) continue;  // they end the child in their own way
        CHECK(touch_in_child(s.bottom() - 1) == SIGSEGV);
        CHECK(touch_in_child(s.base) == SIGSEGV);
      }
      pool.release(stacks.data(), stacks.size());
    }
  }

  TEST_CASE("a released stack is used again, keeps its top page and loses its deep ones in turn") {
    StackPool pool;
    Stack s;
    REQUIRE(pool.acquire(kClass, &s, 1) == 1);
    s.bottom()[0] = 1;
    s.top()[-1] = 2;
    for (std::size_t i = 0; i < StackPool::kTrimTurn; ++i) {
      pool.release(&s, 1);
      const std::size_t carved = pool.carved();
      Stack again;
      REQUIRE(pool.acquire(kClass, &again, 1) == 1);
      CHECK(again.base == s.base);
      CHECK(pool.carved() == carved);
    }
    CHECK(s.top()[-1] == 2);
    CHECK(s.bottom()[0] == 0);
    pool.release(&s, 1);
  }

  TEST_CASE("as many stacks rest warm as are in use; a crowd that has gone leaves few" *
            doctest::skip(SMARM_VALGRIND) *
            doctest::description("Valgrind knows 30,000 mappings, the crowd makes more")) {
    StackPool pool;
    constexpr std::size_t kCrowd = 4 * StackPool::kLeastWarm;
    std::vector<Stack> crowd(kCrowd);
    std::size_t got = 0;
    while (got < kCrowd) got += pool.acquire(kClass, &crowd[got], kCrowd - got);
    for (const Stack& s : crowd) s.top()[-1] = 1;
    const auto warm = [&] {
      return static_cast<std::size_t>(std::count_if(crowd.begin(), crowd.end(), [](const Stack& s) {
        unsigned char resident = 0;
        REQUIRE(::mincore(s.top() - 4096, 4096, &resident) == 0);
        return resident & 1;
      }));
    };
    pool.release(crowd.data(), kCrowd / 2);
    CHECK(warm() == kCrowd);  // half in use, half at rest
    pool.release(crowd.data() + kCrowd / 2, kCrowd / 2);
    CHECK(warm() == StackPool::kLeastWarm);
  }

  TEST_CASE("where guards cost mappings the pool refuses at its limit and names the sysctl") {
    StackPool pool(GuardKind::protect);
    REQUIRE(pool.limit() != SIZE_MAX);
    std::size_t promised = 0;
    while (promised < 10 * pool.limit() && pool.reserve()) ++promised;
    CHECK(promised == pool.limit());
    CHECK(std::string(last_error()).find("vm.max_map_count") != std::string::npos);
    pool.unreserve();
    CHECK(pool.reserve());
    while (promised-- > 0) pool.unreserve();
  }

  TEST_CASE("a cache meets the pool in batches and gives everything back") {
    StackPool pool;
    {
      StackCache cache(pool, kClass);
      std::vector<Stack> held;
      for (int i = 0; i < 200; ++i) {
        held.push_back(cache.acquire(kClass));
        REQUIRE(held.back());
      }
      Stack large = cache.acquire(kClass + 1);
      REQUIRE(large);
      CHECK(large.slot_size() == 128 * 1024);
      cache.release(large);
      for (Stack s : held) cache.release(s);
    }
    const std::size_t carved = pool.carved();
    std::vector<Stack> all(carved);
    std::size_t got = 0;
    while (got < 200) got += pool.acquire(kClass, &all[got], 200 - got);
    CHECK(pool.carved() == carved);  // nothing new had to be made
    pool.release(all.data(), got);
  }
}

}  // namespace
