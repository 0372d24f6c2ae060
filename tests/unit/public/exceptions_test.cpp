// Exceptions in flight belong to their actor, wherever it parks.
#include "tests/unit/public/support.hpp"

#include <exception>
#include <stdexcept>
#include <string>

using namespace test;

TEST_SUITE("public exceptions") {
  TEST_CASE("a catch block that parks keeps its exception while others throw and catch") {
    run_at_each_worker_count([] {
      std::vector<smarm::JoinHandle> actors;
      for (int id = 0; id < 8; ++id)
        actors.push_back(smarm::spawn([id] {
          const std::string mine = "actor " + std::to_string(id);
          for (int i = 0; i < 100; ++i) {
            std::string got;
            try {
              try {
                throw std::runtime_error(mine);
              } catch (const std::runtime_error&) {
                smarm::yield_now();  // the others throw and catch now
                throw;               // must be ours
              }
            } catch (const std::exception& e) {
              smarm::yield_now();
              got = e.what();
            }
            if (got != mine) throw std::logic_error("got the exception of " + got);
            if (std::current_exception() || std::uncaught_exceptions())
              throw std::logic_error("something is left in flight");
          }
        }));
      for (auto& end : smarm::join_all(actors)) {
        if (!end) MESSAGE(end.error().what());
        CHECK(end);
      }
    });
  }

  TEST_CASE("nested catch blocks across parks unwind in their own order") {
    run_at_each_worker_count([] {
      std::vector<smarm::JoinHandle> actors;
      std::atomic<int> wrong = 0;
      for (int id = 0; id < 6; ++id)
        actors.push_back(smarm::spawn([id, &wrong] {
          for (int i = 0; i < 50; ++i) {
            try {
              throw id;
            } catch (int outer) {
              smarm::yield_now();
              try {
                throw std::to_string(id);
              } catch (const std::string& inner) {
                smarm::yield_now();
                if (inner != std::to_string(id)) ++wrong;
              }
              smarm::yield_now();
              try {
                throw;
              } catch (int again) {
                if (again != id || outer != id) ++wrong;
              }
            }
          }
        }));
      for (auto& end : smarm::join_all(actors)) CHECK(end);
      CHECK(wrong == 0);
    });
  }

  TEST_CASE(
      "a destructor may park while an exception passes it, and uncaught_exceptions stays right") {
    run_at_each_worker_count([] {
      struct Parks {
        std::atomic<int>* wrong;
        int before = std::uncaught_exceptions();
        ~Parks() {
          if (std::uncaught_exceptions() != before + 1) ++*wrong;
          smarm::yield_now();
          smarm::sleep(100us);
          if (std::uncaught_exceptions() != before + 1) ++*wrong;
        }
      };
      std::atomic<int> wrong = 0;
      std::vector<smarm::JoinHandle> actors;
      for (int id = 0; id < 8; ++id)
        actors.push_back(smarm::spawn([id, &wrong] {
          for (int i = 0; i < 10; ++i) {
            try {
              Parks parks{&wrong};
              throw id;
            } catch (int v) {
              if (v != id || std::uncaught_exceptions() != 0) ++wrong;
            }
          }
        }));
      for (auto& end : smarm::join_all(actors)) CHECK(end);
      CHECK(wrong == 0);
    });
  }

  TEST_CASE("a fresh actor sees nothing in flight, though its spawner is in a catch block") {
    run_at_each_worker_count([] {
      try {
        throw std::runtime_error("mine");
      } catch (const std::runtime_error&) {
        auto child = smarm::spawn([] {
          CHECK(std::current_exception() == nullptr);
          CHECK(std::uncaught_exceptions() == 0);
        });
        CHECK(child.join());
        CHECK(std::current_exception() != nullptr);
      }
      CHECK(std::current_exception() == nullptr);
    });
  }

  TEST_CASE("an exception_ptr crosses actors") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<std::exception_ptr>();
      (void)smarm::spawn([tx = std::move(tx)] {
        try {
          throw std::range_error("carried");
        } catch (...) {
          (void)tx.send(std::current_exception());
        }
      });
      auto carried = rx.recv();
      REQUIRE(carried.has_value());
      CHECK_THROWS_WITH_AS(std::rethrow_exception(*carried), "carried", std::range_error);
    });
  }

  TEST_CASE("an exception parked in flight for ever is released when its actor is unwound") {
    struct Payload {
      std::shared_ptr<Counted> counted;
    };
    for_each_worker_count([](unsigned workers) {
      std::atomic<int> live = 0;
      run_at(workers, [&live] {
        auto victim = smarm::spawn([&live] {
          try {
            throw Payload{std::make_shared<Counted>(live)};
          } catch (const Payload&) {
            smarm::park_current();
          }
        });
        CHECK(yield_until_parked(victim.pid()));
        CHECK(live == 1);
        CHECK(smarm::kill(victim.pid()));
        CHECK(victim.join().error().killed());
      });
      CHECK(live == 0);
    });
  }

  // What on_panic has told.
  struct Panics {
    std::mutex mutex;
    std::vector<std::string> told;
    static void hear(const smarm_panic* p, void* arg) {
      auto& self = *static_cast<Panics*>(arg);
      const std::lock_guard lock(self.mutex);
      self.told.push_back(std::string(p->name) + ": " + smarm_exit_message(p->exit) + ", " +
                          smarm_exit_type(p->exit));
      CHECK(smarm::Pid(p->pid) == smarm::self_pid());
      CHECK(smarm_exit_kind(p->exit) == SMARM_EXIT_PANIC);
    }
  };

  TEST_CASE("on_panic hears of each actor that panics, before its joiner does, and of no other") {
    for_each_worker_count([](unsigned workers) {
      Panics panics;
      run_with(smarm::Config::exact(workers).on_panic(&Panics::hear, &panics), [&panics] {
        const auto count = [&panics] {
          const std::lock_guard lock(panics.mutex);
          return panics.told.size();
        };
        CHECK_FALSE(smarm::spawn({.name = "one"}, [] { throw std::runtime_error("x"); }).join());
        CHECK(count() == 1);
        CHECK(smarm::spawn([] {}).join());
        auto killed = smarm::spawn([] { smarm::sleep(1h); });
        CHECK(smarm::kill(killed.pid()));
        CHECK_FALSE(killed.join());
        (void)smarm::spawn([] { throw 7; });
        while (count() < 2) smarm::yield_now();
      });
      REQUIRE(panics.told.size() == 2);
      CHECK(panics.told[0] == "one: x, std::runtime_error");
      CHECK_MESSAGE(panics.told[1].ends_with(", int"), panics.told[1]);
    });
  }
}
