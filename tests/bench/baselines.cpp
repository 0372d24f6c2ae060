// What the machine and the standard library take for comparable work, in the same run.

#include "runtime/context/context.hpp"
#include "runtime/context/stack_pool.hpp"
#include "tests/bench/harness.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <memory>
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

// A thousand stacks in a ring and no scheduler: what a hop of the ring of actors must do and no
// more. Control blocks and channels have the sizes that they have in the runtime; `locked`: each
// hop also does the five locked instructions that a message between workers needs.
struct alignas(64) BareLink {
  smarm::Context context{};
  std::atomic<std::uint64_t> word{0};
  char other_fields[256 - sizeof(smarm::Context) - sizeof(word)]{};
};
static_assert(sizeof(BareLink) == 256);
struct BareChannel {
  std::atomic<void*> tail{nullptr};
  std::atomic<std::uint64_t> sent{0}, waiter{0};
  char seldom[48]{};
  void* head = nullptr;
  std::uint64_t received = 0, receiver = 0;
  char rest[8]{};
};
static_assert(sizeof(BareChannel) == 104);

struct BareRing {
  static constexpr std::size_t kLinks = 1000;
  BareLink links[kLinks];
  std::vector<std::unique_ptr<BareChannel>> channels;
  smarm::Context here{};
  BareLink* leaving = nullptr;
  std::size_t turn = 0;  // who was entered last
  long left = 0;
  bool locked = false;

  static void* run(void* arg) {
    auto& ring = *static_cast<BareRing*>(arg);
    smarm::entered_context(nullptr);
    const std::size_t me = ring.turn, other = (me + 1) % kLinks;
    BareLink &mine = ring.links[me], &next = ring.links[other];
    BareChannel &from = *ring.channels[me], &to = *ring.channels[other];
    for (;;) {
      if (ring.left-- <= 0) smarm::switch_context(mine.context, ring.here);
      from.head = to.tail.load(std::memory_order_relaxed);
      ++from.received;
      if (ring.locked) {
        to.sent.fetch_add(1);
        to.tail.exchange(&mine);
        std::uint64_t word = next.word.load(std::memory_order_relaxed);
        next.word.compare_exchange_strong(word, word + 1);  // woken
        from.waiter.exchange(me);
      }
      ring.turn = other;
      ring.leaving = &mine;
      smarm::switch_context(mine.context, next.context);
      if (ring.locked) {
        BareLink& before = *ring.leaving;
        std::uint64_t word = before.word.load(std::memory_order_relaxed);
        before.word.compare_exchange_strong(word, word + 1);  // has left its stack
      }
    }
  }
};
Values bare_ring(bool locked) {
  constexpr long n = 1'000'000;
  const std::uint8_t cls = smarm::stack_class_of(65'536);
  smarm::StackCache pool(smarm::StackPool::instance(), cls);
  const auto ring = std::make_unique<BareRing>();
  ring->locked = locked;
  std::vector<smarm::Stack> stacks;
  for (std::size_t i = 0; i < BareRing::kLinks; ++i) {
    stacks.push_back(pool.acquire(cls));
    if (!stacks.back()) std::abort();
    ring->channels.push_back(std::make_unique<BareChannel>());
    smarm::make_context(ring->links[i].context, stacks[i].bottom(),
                        stacks[i].top() - i % 16 * std::size_t{64}, BareRing::run, ring.get());
  }
  smarm::adopt_thread(ring->here);
  const auto hops = [&](long count) {
    ring->left = count;
    ring->turn = 0;
    smarm::switch_context(ring->here, ring->links[0].context);
  };
  hops(BareRing::kLinks);  // each is entered, and link 0 is where it starts again
  const double each = per_op(n, [&] { hops(n); });
  for (const smarm::Stack& stack : stacks) pool.release(stack);
  return each;
}
const Register ring_alone(
    {.name = "ring_switch",
     .workers = {0},
     .run = [](unsigned) { return bare_ring(false); },
     .what = "around a thousand stacks and no scheduler: the floor of ring with one worker"});
const Register ring_locked({.name = "ring_switch_locked",
                            .workers = {0},
                            .run = [](unsigned) { return bare_ring(true); },
                            .what = "the same with the five locked instructions of a message "
                                    "between workers: the floor of ring with two"});

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
