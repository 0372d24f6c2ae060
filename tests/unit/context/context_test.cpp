// The primitives under everything else, on their own: start on a new stack, switch, leave for good.

#include "runtime/context/context.hpp"
#include "runtime/base/valgrind.hpp"
#include "runtime/context/eh_state.hpp"
#include "runtime/context/stack_pool.hpp"
#include "runtime/context/unwind.hpp"

#include <cxxabi.h>
#include <doctest/doctest.h>
#include <xmmintrin.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace smarm;

// One stack beside the test's own, and a body that may switch back.
struct Flow {
  Context body{}, outside{};
  Stack stack{};
  void (*run)(Flow&) = nullptr;
  std::vector<int> seen{};
  int value = 0;

  explicit Flow(void (*f)(Flow&)) : run(f) {
    REQUIRE(StackPool::instance().acquire(stack_class_of(64 * 1024), &stack, 1) == 1);
    adopt_thread(outside);
    make_context(body, stack.bottom(), stack.top(), &Flow::main, this);
  }
  ~Flow() {
    forget_context(body);
    StackPool::instance().release(&stack, 1);
  }
  Flow(const Flow&) = delete;
  Flow& operator=(const Flow&) = delete;

  static void* main(void* p) {
    auto& self = *static_cast<Flow*>(p);
    entered_context(nullptr);
    self.run(self);
    if constexpr (SMARM_ASAN || SMARM_TSAN) leave_context(self.outside);
    return self.outside.sp;
  }
  void resume() { switch_context(outside, body); }
  void suspend() { switch_context(body, outside); }
};

TEST_SUITE("context") {
  TEST_CASE("a body starts on its own stack, switches to and fro, and leaves for good") {
    Flow flow([](Flow& f) {
      int local = 0;
      const auto here = reinterpret_cast<std::uintptr_t>(&local);
      f.value = here >= reinterpret_cast<std::uintptr_t>(f.stack.bottom()) &&
                here < reinterpret_cast<std::uintptr_t>(f.stack.top());
      for (int i = 1; i <= 3; ++i) {
        f.seen.push_back(i);
        f.suspend();
      }
      f.seen.push_back(99);
    });
    for (int i = 1; i <= 3; ++i) {
      flow.resume();
      CHECK(flow.seen.size() == static_cast<std::size_t>(i));
      flow.seen.push_back(-i);
      CHECK(flow.seen.back() == -i);
      flow.seen.pop_back();
    }
    flow.resume();
    CHECK(flow.seen == std::vector<int>{1, 2, 3, 99});
    // Under AddressSanitizer locals of a frame may live on its fake stack.
    if (!SMARM_ASAN) CHECK(flow.value == 1);
  }

  TEST_CASE("a body may leave for good from the middle of its calls, and go on to a fresh stack") {
    Flow second([](Flow& f) { f.value = 2; });
    static Flow* next = &second;
    Flow first([](Flow& f) {
      f.value = 1;
      leave_context(next->body);
    });
    adopt_thread(second.outside);
    switch_context(second.outside, first.body);
    CHECK(first.value == 1);
    CHECK(second.value == 2);
  }

  TEST_CASE("the stack is aligned as the ABI wants it") {
    Flow flow([](Flow& f) {
      alignas(16) volatile char block[16] = {};
      f.value = static_cast<int>(reinterpret_cast<std::uintptr_t>(&block[0]) % 16);
    });
    flow.value = -1;
    flow.resume();
    CHECK(flow.value == 0);
  }

  TEST_CASE("rounding mode and x87 precision belong to the flow that set them" *
            doctest::skip(SMARM_VALGRIND) *
            doctest::description("Valgrind computes with one x87 precision and keeps no other")) {
    Flow flow([](Flow& f) {
      _MM_SET_ROUNDING_MODE(_MM_ROUND_UP);
      std::uint16_t control = 0x027f;  // double precision
      asm volatile("fldcw %0" : : "m"(control));
      f.suspend();
      std::uint16_t now = 0;
      asm volatile("fnstcw %0" : "=m"(now));
      f.value = _MM_GET_ROUNDING_MODE() == _MM_ROUND_UP && now == control;
    });
    flow.resume();
    CHECK(_MM_GET_ROUNDING_MODE() == _MM_ROUND_NEAREST);
    std::uint16_t mine = 0;
    asm volatile("fnstcw %0" : "=m"(mine));
    CHECK(mine == 0x037f);
    _MM_SET_ROUNDING_MODE(_MM_ROUND_DOWN);
    flow.resume();
    CHECK(_MM_GET_ROUNDING_MODE() == _MM_ROUND_DOWN);
    _MM_SET_ROUNDING_MODE(_MM_ROUND_NEAREST);
    CHECK(flow.value == 1);
  }

  TEST_CASE("sticky floating-point status does not count as control and is not restored") {
    Flow flow([](Flow& f) {
      volatile double zero = 0, one = 1;
      volatile double inf = one / zero;  // raises the divide-by-zero flag
      f.value = inf > 0;
      f.suspend();
    });
    flow.resume();
    CHECK(flow.value == 1);
    CHECK((_mm_getcsr() & 0xffc0) == 0x1f80);
    flow.resume();
  }

  TEST_CASE("exceptions thrown and caught on a stack stay there, with their state swapped") {
    Flow flow([](Flow& f) {
      try {
        throw std::runtime_error("inner");
      } catch (const std::runtime_error& e) {
        f.suspend();  // with a caught exception alive
        f.value = std::string(e.what()) == "inner";
      }
    });
    EhState body{}, mine = *thread_eh_state();
    *thread_eh_state() = body;
    flow.resume();
    body = *thread_eh_state();
    *thread_eh_state() = mine;
    CHECK(body.caught != nullptr);
    CHECK(mine.caught == nullptr);
    CHECK_THROWS_AS(throw std::logic_error("outer"), std::logic_error);
    *thread_eh_state() = body;
    flow.resume();
    *thread_eh_state() = mine;
    CHECK(flow.value == 1);
  }

  TEST_CASE(
      "forced unwinding runs destructors, passes catch (...) that rethrows, and stops at the "
      "base") {
    static int destroyed;
    destroyed = 0;
    Flow flow([](Flow& f) {
      struct Counted {
        ~Counted() { ++destroyed; }
      };
      try {
        Counted outer;
        try {
          Counted inner;
          force_unwind([](void* p) { static_cast<Flow*>(p)->seen.push_back(1); }, &f);
        } catch (...) {
          f.seen.push_back(0);
          throw;
        }
      } catch (abi::__forced_unwind&) {
        f.value = 1;
      }
    });
    flow.resume();
    CHECK(flow.value == 1);
    CHECK(destroyed == 2);
    CHECK(flow.seen == std::vector<int>{0, 1});  // rethrown once, then kept by the base
  }
}

}  // namespace
