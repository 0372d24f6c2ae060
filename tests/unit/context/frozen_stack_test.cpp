// Packing a stack away and back, without a runtime.
#include "runtime/context/frozen_stack.hpp"

#include "runtime/context/stack_map.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace smarm;

constexpr std::uint8_t kClass = 2;       // 64 KiB
constexpr std::uint8_t kLargeClass = 6;  // 1 MiB

// Whether the kernel finds memory there that may be read: asked without touching it.
bool readable(const void* address) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const bool yes = ::write(ends[1], address, 1) == 1;
  ::close(ends[0]);
  ::close(ends[1]);
  return yes;
}

bool resident(void* address) {
  unsigned char state = 0;
  auto* page = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(address) & ~4095ul);
  REQUIRE(::mincore(page, 4096, &state) == 0);
  return state & 1;
}

// Into how many mappings the slabs of these stacks have been cut.
std::size_t mappings(std::span<const Stack> stacks) {
  std::ifstream maps("/proc/self/maps");
  std::size_t n = 0;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0, end = 0;
    std::sscanf(line.c_str(), "%lx-%lx", &begin, &end);
    n += std::ranges::any_of(stacks, [&](const Stack& s) {
      const StackSlab* slab = find_stacks(s.base);
      const auto base = reinterpret_cast<std::uintptr_t>(slab->base());
      return begin < base + slab->bytes() && base < end;
    });
  }
  return n;
}

// Words of every kind that packing knows, and others.
std::vector<std::uint64_t> content(std::size_t words, const void* near, unsigned seed) {
  std::mt19937_64 random(seed);
  std::vector<std::uint64_t> all(words);
  for (std::uint64_t& word : all) {
    const std::uint64_t low = random() & 0xffffffff;
    switch (random() % 5) {
      case 0: word = 0; break;
      case 1: word = (reinterpret_cast<std::uintptr_t>(near) & ~0xfffffffful) | low; break;
      case 2: word = (reinterpret_cast<std::uintptr_t>(&content) & ~0xfffffffful) | low; break;
      case 3: word = low; break;
      default: word = random();
    }
  }
  return all;
}

FrozenStack* freeze_stack(Stack s, void* sp, void* end) {
  StackToFreeze one{s, sp, end, nullptr, nullptr};
  freeze_stacks({&one, 1});
  return one.frozen;
}

template <class F>
void with_each_guard(F f) {
  for (GuardKind kind : {GuardKind::automatic, GuardKind::protect}) {
    CAPTURE(static_cast<int>(kind));
    StackPool pool(kind);
    f(pool);
    CHECK(frozen_stacks() == 0);
  }
}

// The same where the kernel puts no pages into slabs; in a process of its own, which stays so.
template <class F>
void without_pages(F f) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    bool right = can_freeze_stacks();
    put_no_pages();
    StackPool pool;
    right = right && f(pool);
    ::_exit(right ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_SUITE("frozen stack") {
  TEST_CASE("the map knows slots, their borders and nothing else") {
    StackPool pool;
    Stack s;
    for (std::uint8_t cls : {kClass, kLargeClass}) {
      REQUIRE(pool.acquire(cls, &s, 1) == 1);
      for (const char* at : {s.base, s.bottom(), s.top() - 1}) {
        StackSlab* slab = find_stacks(at);
        REQUIRE(slab);
        CHECK(slab->slot_of(at).base == s.base);
        CHECK(slab->slot_of(at).cls == cls);
      }
      pool.release(&s, 1);
    }
    CHECK(find_stacks(&s) == nullptr);
    CHECK(find_stacks(nullptr) == nullptr);
    CHECK(find_stacks(reinterpret_cast<void*>(~std::uintptr_t{0})) == nullptr);
    CHECK_FALSE(thaw_frozen_at(&s));
  }

  TEST_CASE("what comes back is what was there, at every size") {
    REQUIRE(can_freeze_stacks());
    with_each_guard([](StackPool& pool) {
      for (std::uint8_t cls : {kClass, kLargeClass}) {
        for (std::size_t words : {8u, 15u, 16u, 17u, 63u, 64u, 65u, 511u, 512u, 513u, 4'000u}) {
          CAPTURE(words);
          Stack s;
          REQUIRE(pool.acquire(cls, &s, 1) == 1);
          char* end = s.top() - 192;
          char* sp = end - words * 8;
          const auto wanted = content(words, sp, static_cast<unsigned>(words));
          std::memset(s.bottom(), 1, 4096);  // deep pages go too
          std::memcpy(sp, wanted.data(), words * 8);
          FrozenStack* f = freeze_stack(s, sp, end);
          REQUIRE(f);
          CHECK(frozen_stacks() == 1);
          CHECK_FALSE(readable(sp));
          CHECK_FALSE(readable(s.top() - 1));
          CHECK_FALSE(resident(sp));
          CHECK_FALSE(resident(s.bottom()));
          const Stack back = thaw_stack(f);
          CHECK(back.base == s.base);
          CHECK(back.cls == cls);
          CHECK(std::memcmp(sp, wanted.data(), words * 8) == 0);
          CHECK(s.bottom()[0] == 0);
          s.bottom()[0] = 1;
          pool.release(&s, 1);
        }
      }
    });
  }

  TEST_CASE("without pages put in place content is written beneath the protection") {
    without_pages([](StackPool& pool) {
      for (std::uint8_t cls : {kClass, kLargeClass}) {
        Stack s;
        if (pool.acquire(cls, &s, 1) != 1) return false;
        const auto wanted = content(1'500, s.bottom(), 3);
        char* sp = s.top() - 12'000;
        std::memcpy(sp, wanted.data(), 12'000);
        const std::size_t before = mappings({&s, 1});
        FrozenStack* f = freeze_stack(s, sp, s.top());
        if (!f || readable(sp)) return false;
        thaw_stack(f);
        if (std::memcmp(sp, wanted.data(), 12'000) != 0 || mappings({&s, 1}) != before)
          return false;
        s.bottom()[0] = 1;
      }
      return true;
    });
  }

  TEST_CASE("a stranger thaws it for the owner; the owner still gives the record back") {
    REQUIRE(can_freeze_stacks());
    with_each_guard([](StackPool& pool) {
      Stack s;
      REQUIRE(pool.acquire(kClass, &s, 1) == 1);
      char* sp = s.top() - 800;
      const auto wanted = content(100, sp, 1);
      std::memcpy(sp, wanted.data(), 800);
      CHECK_FALSE(thaw_frozen_at(s.base));  // the guard is none of it
      FrozenStack* f = freeze_stack(s, sp, s.top());
      REQUIRE(f);
      CHECK_FALSE(thaw_frozen_at(s.base));
      CHECK(thaw_frozen_at(sp + 5));
      CHECK(std::memcmp(sp, wanted.data(), 800) == 0);
      sp[7] = 'x';
      CHECK(thaw_frozen_at(sp + 5));
      CHECK(frozen_stacks() == 1);
      thaw_stack(f);
      CHECK(sp[7] == 'x');  // what was written after the thaw stays
      pool.release(&s, 1);
    });
  }

  TEST_CASE("no mapping is left over") {
    REQUIRE(can_freeze_stacks());
    with_each_guard([](StackPool& pool) {
      std::vector<Stack> stacks(64);
      std::size_t got = 0;
      while (got < stacks.size()) got += pool.acquire(kClass, &stacks[got], stacks.size() - got);
      for (const Stack& s : stacks) std::memset(s.bottom(), 7, 48 * 1024);
      const std::size_t before = mappings(stacks);
      std::vector<FrozenStack*> all;
      for (const Stack& s : stacks) all.push_back(freeze_stack(s, s.top() - 512, s.top()));
      CHECK(mappings(stacks) <= before + 2);  // the first freeze in a slab may part it from another
      for (FrozenStack* f : all) {
        REQUIRE(f);
        thaw_stack(f);
      }
      CHECK(mappings(stacks) <= before + 2);  // the first freeze in a slab may part it from another
      pool.release(stacks.data(), got);
    });
  }

  TEST_CASE("slots side by side and apart are frozen together, those that cannot be are left out") {
    REQUIRE(can_freeze_stacks());
    with_each_guard([](StackPool& pool) {
      std::vector<Stack> stacks(64);
      std::size_t got = 0;
      while (got < stacks.size()) got += pool.acquire(kClass, &stacks[got], stacks.size() - got);
      Stack large;
      REQUIRE(pool.acquire(kLargeClass, &large, 1) == 1);
      const std::size_t before = mappings(stacks);
      std::vector<StackToFreeze> all;
      for (std::size_t i = 0; i < stacks.size(); ++i) {
        if (i % 7 == 3) continue;  // runs of six at most, in the order of the pool
        const auto words = content(40 + i, stacks[i].bottom(), static_cast<unsigned>(i));
        char* sp = stacks[i].top() - words.size() * 8;
        std::memcpy(sp, words.data(), words.size() * 8);
        all.push_back({stacks[i], sp, stacks[i].top(), &stacks[i], nullptr});
      }
      std::memset(large.bottom(), 9, 700 * 1024);
      all.push_back({large, large.bottom(), large.top(), &large, nullptr});
      freeze_stacks(all);
      CHECK(frozen_stacks() == all.size() - 1);
      CHECK(mappings(stacks) <= before + 2);  // the first freeze in a slab may part it from another
      for (const StackToFreeze& s : all) {
        if (s.owner == &large) {
          CHECK(s.frozen == nullptr);
          CHECK(large.bottom()[5] == 9);
          continue;
        }
        REQUIRE(s.frozen);
        CHECK_FALSE(readable(s.sp));
        const auto i = static_cast<std::size_t>(static_cast<Stack*>(s.owner) - stacks.data());
        CHECK(thaw_stack(s.frozen).base == stacks[i].base);
        const auto words = content(40 + i, stacks[i].bottom(), static_cast<unsigned>(i));
        CHECK(std::memcmp(s.sp, words.data(), words.size() * 8) == 0);
        CHECK(readable(stacks[i].bottom()));
        CHECK_FALSE(readable(stacks[i].base));  // the guard is where it was
      }
      CHECK(mappings(stacks) <= before + 2);  // the first freeze in a slab may part it from another
      pool.release(stacks.data(), got);
      pool.release(&large, 1);
    });
  }

  TEST_CASE("too much on a stack is left alone") {
    REQUIRE(can_freeze_stacks());
    StackPool pool;
    Stack s;
    REQUIRE(pool.acquire(kLargeClass, &s, 1) == 1);
    std::memset(s.bottom(), 3, 512 * 1024);
    CHECK(freeze_stack(s, s.top() - 512 * 1024, s.top()) == nullptr);
    CHECK(s.top()[-512 * 1024] == 3);
    s.top()[-1] = 4;
    CHECK(frozen_stacks() == 0);
    pool.release(&s, 1);
  }
}

}  // namespace
