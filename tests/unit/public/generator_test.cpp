// Generator<T>, in and outside a runtime.
#include "tests/unit/public/support.hpp"

#include <algorithm>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <string>

using namespace test;
using smarm::Generator;

namespace {

Generator<int> range(int from, int to) {
  return Generator<int>([from, to](auto& yield) {
    for (int i = from; i < to; ++i) yield(i);
  });
}

Generator<int> evens() {
  return Generator<int>([](auto& yield) {
    for (int i = 0;; i += 2) yield(i);
  });
}

struct Tree {
  int value;
  std::unique_ptr<Tree> left, right;
};

std::unique_ptr<Tree> make_tree(int from, int to) {
  if (from >= to) return nullptr;
  const int middle = std::midpoint(from, to);
  return std::make_unique<Tree>(Tree{middle, make_tree(from, middle), make_tree(middle + 1, to)});
}

Generator<int> walk(const Tree* tree) {
  return Generator<int>([tree](auto& yield) {
    if (!tree) return;
    for (int v : walk(tree->left.get())) yield(v);
    yield(tree->value);
    for (int v : walk(tree->right.get())) yield(v);
  });
}

// Runs a check in both worlds.
template <class F>
void everywhere(F f) {
  f();
  run_at_each_worker_count(f);
}

}  // namespace

TEST_SUITE("public generator") {
  TEST_CASE("a generator is a range of what its body yields") {
    everywhere([] {
      std::vector<int> seen;
      for (int v : range(3, 8)) seen.push_back(v);
      CHECK(seen == std::vector<int>{3, 4, 5, 6, 7});
      auto empty = range(0, 0);
      CHECK_FALSE(empty.next().has_value());
      CHECK_FALSE(empty.next().has_value());
      static_assert(std::ranges::input_range<Generator<int>>);
    });
  }

  TEST_CASE("after a break a later loop goes on with the next value") {
    everywhere([] {
      auto g = evens();
      int last = 0;
      for (int v : g)
        if ((last = v) == 10) break;
      for (int v : g)
        if ((last = v) == 20) break;
      CHECK(last == 20);
      CHECK(g.next() == 22);
    });
  }

  TEST_CASE("the body starts at the first value, not before") {
    everywhere([] {
      bool started = false;
      Generator<int> g([&started](auto& yield) {
        started = true;
        yield(1);
      });
      CHECK_FALSE(started);
      CHECK(g.next() == 1);
      CHECK(started);
    });
  }

  TEST_CASE("generators nest") {
    everywhere([] {
      Generator<long> sums([](auto& yield) {
        for (int n = 1; n <= 50; ++n) {
          long sum = 0;
          for (int v : range(1, n + 1)) sum += v;
          yield(sum);
        }
      });
      long n = 0;
      bool right = true;
      for (long sum : sums) ++n, right = right && sum == n * (n + 1) / 2;
      CHECK(n == 50);
      CHECK(right);

      auto tree = make_tree(0, 200);
      int expected = 0;
      for (int v : walk(tree.get())) right = right && v == expected++;
      CHECK(right);
      CHECK(expected == 200);
    });
  }

  TEST_CASE("many generators that are half-way at once do not mix") {
    everywhere([] {
      std::vector<Generator<int>> many;
      const int count = kSlow ? 100 : 1000;
      for (int i = 0; i < count; ++i) many.push_back(range(i, i + 5));
      bool right = true;
      for (int step = 0; step < 5; ++step)
        for (int i = 0; i < count; ++i)
          right = right && many[static_cast<std::size_t>(i)].next() == i + step;
      CHECK(right);
      for (auto& g : many) CHECK_FALSE(g.next().has_value());
    });
  }

  TEST_CASE("a generator that is dropped half-way unwinds its body") {
    everywhere([] {
      std::atomic<int> live = 0;
      {
        Generator<int> g([&live, held = Counted(live)](auto& yield) {
          Counted outer(live);
          for (int i = 0;; ++i) {
            Counted inner(live);
            yield(i);
          }
        });
        CHECK(live == 1);
        CHECK(g.next() == 0);
        CHECK(g.next() == 1);
        CHECK(live == 3);
      }
      CHECK(live == 0);
    });
  }

  TEST_CASE("one that was never started, or has ended, is dropped without a trace") {
    everywhere([] {
      std::atomic<int> live = 0;
      {
        Generator<int> never([held = Counted(live)](auto& yield) { yield(1); });
        Generator<int> ended([held = Counted(live)](auto&) {});
        CHECK_FALSE(ended.next().has_value());
        CHECK(live == 2);
      }
      CHECK(live == 0);
    });
  }

  TEST_CASE("dropping a generator drops the ones that its body uses") {
    everywhere([] {
      std::atomic<int> live = 0;
      {
        Generator<int> outer([&live](auto& yield) {
          Generator<int> inner([&live](auto& yield_inner) {
            Counted c(live);
            for (int i = 0;; ++i) yield_inner(i);
          });
          for (int v : inner) yield(v * 10);
        });
        CHECK(outer.next() == 0);
        CHECK(outer.next() == 10);
        CHECK(live == 1);
      }
      CHECK(live == 0);
    });
  }

  TEST_CASE("what escapes the body is rethrown to the consumer, then the generator is at its end") {
    everywhere([] {
      std::atomic<int> live = 0;
      Generator<int> g([&live](auto& yield) {
        Counted c(live);
        yield(1);
        yield(2);
        throw std::runtime_error("body");
      });
      CHECK(g.next() == 1);
      CHECK(g.next() == 2);
      CHECK_THROWS_WITH_AS(static_cast<void>(g.next()), "body", std::runtime_error);
      CHECK(live == 0);
      CHECK_FALSE(g.next().has_value());
    });
  }

  TEST_CASE("an exception passes through nested generators") {
    everywhere([] {
      Generator<int> outer([](auto& yield) {
        Generator<int> inner([](auto& yield_inner) {
          yield_inner(1);
          throw std::runtime_error("inner");
        });
        for (int v : inner) yield(v);
      });
      CHECK(outer.next() == 1);
      CHECK_THROWS_WITH_AS(static_cast<void>(outer.next()), "inner", std::runtime_error);
    });
  }

  TEST_CASE("the body and its consumer have exception states of their own") {
    everywhere([] {
      Generator<std::string> g([](auto& yield) {
        for (int i = 0; i < 3; ++i) {
          try {
            throw std::runtime_error("body " + std::to_string(i));
          } catch (const std::runtime_error& e) {
            yield(e.what());  // suspended inside a handler
            try {
              throw;
            } catch (const std::runtime_error& again) {
              yield(std::string("again ") + again.what());
            }
          }
        }
      });
      for (int i = 0; i < 3; ++i) {
        try {
          throw std::logic_error("consumer");
        } catch (const std::logic_error&) {
          CHECK(g.next() == "body " + std::to_string(i));
          CHECK(g.next() == "again body " + std::to_string(i));
          CHECK_THROWS_WITH_AS(throw, "consumer", std::logic_error);
        }
      }
      CHECK(std::current_exception() == nullptr);
      CHECK_FALSE(g.next().has_value());
    });
  }

  TEST_CASE("values may be move-only, and large bodies may be moved") {
    everywhere([] {
      Generator<std::unique_ptr<int>> g([](auto& yield) {
        for (int i = 0; i < 3; ++i) yield(std::make_unique<int>(i));
      });
      auto first = g.next();
      REQUIRE(first.has_value());
      CHECK(**first == 0);
      auto moved = std::move(g);
      int sum = 0;
      for (auto& v : moved) sum += *v;
      CHECK(sum == 3);
      CHECK_FALSE(g.next().has_value());
    });
  }

  TEST_CASE("inside an actor the body may park") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<int>();
      auto feeder = smarm::spawn([tx = std::move(tx)] {
        for (int i = 0; i < 50; ++i) {
          (void)tx.send(i);
          smarm::yield_now();
        }
      });
      auto consumer = smarm::spawn([rx = std::move(rx)]() mutable {
        Generator<int> doubled([&rx](auto& yield) {
          while (auto v = rx.recv()) {
            smarm::sleep(100us);
            yield(*v * 2);
          }
        });
        int expected = 0;
        bool right = true;
        for (int v : doubled) {
          right = right && v == expected;
          expected += 2;
          smarm::yield_now();  // between two values the consumer may park as well
        }
        CHECK(right);
        CHECK(expected == 100);
      });
      CHECK(feeder.join());
      CHECK(consumer.join());
    });
  }

  TEST_CASE("the body is the actor that consumes it") {
    run_at_each_worker_count([] {
      Generator<smarm::Pid> g([](auto& yield) {
        yield(smarm::self_pid());
        yield(smarm::spawn([] {}).pid());
      });
      CHECK(g.next() == smarm::self_pid());
      CHECK(g.next() != smarm::self_pid());
    });
  }

  TEST_CASE("a half-way generator may be handed to another actor") {
    run_at_each_worker_count([] {
      std::atomic<int> live = 0;
      auto [tx, rx] = smarm::channel<Generator<int>>();
      auto other = smarm::spawn([rx = std::move(rx)]() mutable {
        auto g = rx.recv();
        REQUIRE(g.has_value());
        CHECK(g->next() == 1);
        smarm::yield_now();
        CHECK(g->next() == 2);
      });
      Generator<int> g([&live](auto& yield) {
        Counted c(live);
        for (int i = 0;; ++i) yield(i);
      });
      CHECK(g.next() == 0);
      CHECK(tx.send(std::move(g)));
      CHECK(other.join());
      CHECK(live == 0);
    });
  }

  TEST_CASE("an actor that is killed while the body waits unwinds both stacks") {
    run_at_each_worker_count([] {
      std::atomic<int> live = 0;
      std::atomic<bool> error_seen = false;
      auto victim = smarm::spawn([&] {
        Counted outside(live);
        Generator<int> g([&live](auto& yield) {
          Counted inside(live);
          smarm::park_current();
          yield(1);
        });
        try {
          (void)g.next();
        } catch (const std::exception&) {
          error_seen = true;
        }
      });
      CHECK(yield_until([&] { return live == 2 && parked(victim.pid()); }));
      CHECK(smarm::kill(victim.pid()));
      CHECK(victim.join().error().killed());
      CHECK(live == 0);
      CHECK_FALSE(error_seen);
    });
  }

  TEST_CASE("an actor that is killed between two values drops its generator") {
    run_at_each_worker_count([] {
      std::atomic<int> live = 0;
      auto victim = smarm::spawn([&live] {
        Generator<int> g([&live](auto& yield) {
          Counted inside(live);
          for (int i = 0;; ++i) yield(i);
        });
        CHECK(g.next() == 0);
        smarm::park_current();
      });
      CHECK(yield_until([&] { return live == 1 && parked(victim.pid()); }));
      CHECK(smarm::kill(victim.pid()));
      CHECK(victim.join().error().killed());
      CHECK(live == 0);
    });
  }

  TEST_CASE("a body that allocates in a loop is preempted like its actor") {
    run_with(smarm::Config::exact(1).alloc_interval(1).timeslice_cycles(2000), [] {
      std::atomic<bool> released = false;
      auto hog = smarm::spawn([&released] {
        Generator<int> g([&released](auto& yield) {
          while (!released) allocate();
          yield(1);
        });
        CHECK(g.next() == 1);
      });
      auto peer = smarm::spawn([&released] { released = true; });
      CHECK(hog.join());
      CHECK(peer.join());
    });
  }

  TEST_CASE("a generator on a plain thread works while a runtime runs elsewhere") {
    std::atomic<bool> right = true;
    std::thread thread([&right] {
      for (int i = 0; i < 200; ++i) {
        int sum = 0;
        for (int v : range(0, 20)) sum += v;
        if (sum != 190) right = false;
      }
    });
    run_at(2, [] {
      for (int i = 0; i < 200; ++i) {
        int sum = 0;
        for (int v : range(0, 20)) sum += v;
        CHECK(sum == 190);
        smarm::yield_now();
      }
    });
    thread.join();
    CHECK(right);
  }
}
