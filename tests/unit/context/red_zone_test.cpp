// The part of a guard that an overflow may use.
#include "runtime/context/red_zone.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstring>

namespace {

using namespace smarm;

// Whether the kernel reads a byte there for us: no signal.
bool accessible(const char* p) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const bool yes = ::write(ends[1], p, 1) == 1;
  ::close(ends[0]);
  ::close(ends[1]);
  return yes;
}

TEST_SUITE("red zone") {
  TEST_CASE("opened, torn, mended; the lowest page stays shut") {
    for (GuardKind kind : {GuardKind::automatic, GuardKind::protect}) {
      StackPool pool(kind);
      Stack s{};
      REQUIRE(pool.acquire(stack_class_of(64 * 1024), &s, 1) == 1);
      CHECK(stack_at(s.base).base == s.base);
      CHECK(stack_at(s.top() - 1).base == s.base);
      CHECK(red_bottom(s) == s.base + kRedPage);
      CHECK_FALSE(accessible(s.bottom() - 1));
      const std::size_t before = torn_guards;
      CHECK(open_red_zone(s, red_third(s)));
      CHECK(torn_guards == before + 1);
      std::memset(red_third(s), 1, static_cast<std::size_t>(s.bottom() - red_third(s)));
      CHECK_FALSE(accessible(red_third(s) - 1));
      CHECK(open_red_zone(s, red_bottom(s)));
      CHECK(torn_guards == before + 1);
      CHECK(s.bottom()[-1] == 1);
      CHECK(accessible(red_bottom(s)));
      CHECK_FALSE(accessible(s.base));
      mend_guard(s);
      CHECK(torn_guards == before);
      CHECK_FALSE(accessible(red_bottom(s)));
      CHECK_FALSE(accessible(s.bottom() - 1));
      CHECK(accessible(s.bottom()));
      mend_guard(s);
      pool.release(&s, 1);
    }
  }

  TEST_CASE("small stacks have none, or one page; a large one no more than it needs") {
    StackPool pool;
    Stack s{};
    REQUIRE(pool.acquire(stack_class_of(16 * 1024), &s, 1) == 1);
    CHECK(red_bottom(s) == s.bottom());
    CHECK_FALSE(open_red_zone(s, red_bottom(s)));
    pool.release(&s, 1);
    REQUIRE(pool.acquire(stack_class_of(32 * 1024), &s, 1) == 1);
    CHECK(red_bottom(s) == s.bottom() - kRedPage);
    CHECK(red_third(s) == s.bottom());
    pool.release(&s, 1);
    REQUIRE(pool.acquire(stack_class_of(1024 * 1024), &s, 1) == 1);
    CHECK(red_bottom(s) == s.bottom() - kMostRed);
    pool.release(&s, 1);
  }

  TEST_CASE("memory that is no stack") {
    int local = 0;
    CHECK_FALSE(stack_at(&local));
    CHECK_FALSE(stack_at(nullptr));
  }
}

}  // namespace
