// What the machine and the standard library take for comparable work, in the same run.

#include "runtime/context/context.hpp"
#include "runtime/context/stack_pool.hpp"
#include "tests/bench/harness.hpp"

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include <sys/syscall.h>
#include <unistd.h>

namespace {

using bench::per_op;
using bench::Register;
using bench::Values;

const Register system_call({.name = "syscall",
                            .workers = {0},
                            .run =
                                [](unsigned) {
                                  constexpr int n = 500'000;
                                  return per_op(n, [] {
                                    for (int i = 0; i < n; ++i) ::syscall(SYS_getppid);
                                  });
                                },
                            .what = "one getppid system call"});

const Register thread_spawn({.name = "thread_spawn_join",
                             .workers = {0},
                             .run =
                                 [](unsigned) {
                                   constexpr int n = 2'000;
                                   return per_op(n, [] {
                                     for (int i = 0; i < n; ++i) std::thread([] {}).join();
                                   });
                                 },
                             .what = "std::thread made and joined, one at a time"});

// Two stacks and nothing else: the part of a yield that is the switch itself, control words
// included. Both run the same function, as two actors that yield do.
struct BareFlow {
  smarm::Context context{};
  BareFlow* other = nullptr;
  smarm::Context* back = nullptr;  // to who started it
  long left = 0;

  static void* run(void* arg) {
    auto& self = *static_cast<BareFlow*>(arg);
    smarm::entered_context(nullptr);
    for (;;) {
      while (self.left-- > 0) smarm::switch_context(self.context, self.other->context);
      smarm::switch_context(self.context, *self.back);
    }
  }
};
Values bare_switch(unsigned) {
  constexpr long n = 1'000'000;
  const std::uint8_t cls = smarm::stack_class_of(65'536);
  smarm::StackCache stacks(smarm::StackPool::instance(), cls);
  const smarm::Stack a = stacks.acquire(cls), b = stacks.acquire(cls);
  if (!a || !b) std::abort();
  smarm::Context here;
  smarm::adopt_thread(here);
  BareFlow first, second;
  first.other = &second;
  second.other = &first;
  first.back = second.back = &here;
  first.left = second.left = n;
  smarm::make_context(first.context, a.bottom(), a.top(), BareFlow::run, &first);
  smarm::make_context(second.context, b.bottom(), b.top(), BareFlow::run, &second);
  const double each = per_op(2.0 * n, [&] { smarm::switch_context(here, first.context); });
  stacks.release(a);
  stacks.release(b);
  return each;
}
const Register switches(
    {.name = "switch",
     .workers = {0},
     .run = bare_switch,
     .what = "from one stack to another and no scheduler: the floor of a yield"});

// Two threads hand a turn to and fro.
Values thread_pingpong(unsigned) {
  constexpr int n = 5'000;
  std::mutex mutex;
  std::condition_variable turned;
  int turn = 0;
  auto player = [&](int me) {
    for (int i = 0; i < n; ++i) {
      std::unique_lock lock(mutex);
      turned.wait(lock, [&] { return turn == me; });
      turn = 1 - me;
      turned.notify_one();
    }
  };
  return per_op(2.0 * n, [&] {
    std::thread a(player, 0), b(player, 1);
    a.join();
    b.join();
  });
}
const Register thread_turns(
    {.name = "thread_pingpong",
     .workers = {0},
     .run = thread_pingpong,
     .what = "a turn between two std::threads by mutex and condition variable"});

Values thread_mutex(unsigned) {
  constexpr int n = 100'000, threads = 8;
  std::mutex mutex;
  long count = 0;
  return per_op(double{n} * threads, [&] {
    std::vector<std::thread> all;
    all.reserve(threads);
    for (int t = 0; t < threads; ++t) {
      all.emplace_back([&] {
        for (int i = 0; i < n; ++i) {
          std::lock_guard lock(mutex);
          ++count;
        }
      });
    }
    for (auto& t : all) t.join();
  });
}
const Register mutexes({.name = "thread_mutex",
                        .workers = {0},
                        .run = thread_mutex,
                        .what = "one std::mutex, 8 std::threads"});

}  // namespace
