// Storms of parks, spawns and kills.
#include "tests/stress/stress.hpp"

#include <stdexcept>

using namespace stress;

namespace {

// Waits in one of the ways an actor can wait, for ever or nearly so.
void wait_somehow(int kind, smarm::Mutex<int>& taken, int quiet_fd) {
  switch (kind % 9) {
    case 0: smarm::park_current(); break;
    case 1: smarm::sleep(1h); break;
    case 2: {
      auto [tx, rx] = smarm::channel<int>();
      (void)rx.recv();
      break;
    }
    case 3: {
      auto [tx, rx] = smarm::channel<int>();
      (void)rx.recv_timeout(1h);
      break;
    }
    case 4: {
      auto [tx1, rx1] = smarm::channel<int>();
      auto [tx2, rx2] = smarm::channel<int>();
      (void)smarm::select_timeout(1h, rx1, rx2);
      break;
    }
    case 5: (void)taken.lock_timeout(1h); break;
    case 6: (void)smarm::wait_readable(quiet_fd, 1h); break;
    case 7: {
      auto [tx, rx] = smarm::bounded_channel<int>(1);
      (void)tx.send(1);
      (void)tx.send(2);
      break;
    }
    default: {
      smarm::Generator<int> g([](auto& yield) {
        smarm::park_current();
        yield(1);
      });
      (void)g.next();
    }
  }
}

struct Totals {
  std::atomic<int> nodes = 0, panics = 0, live = 0;
};

// A random tree of actors: each joins its children, some panic once they have.
void grow(Totals& totals, std::uint64_t stream, int depth) {
  Random random(stream);
  Counted counted(totals.live);
  ++totals.nodes;
  std::vector<smarm::JoinHandle> children;
  if (depth > 0)
    for (int i = random.below(5); i > 0; --i)
      children.push_back(
          smarm::spawn([&totals, seed = random.next(), depth] { grow(totals, seed, depth - 1); }));
  jitter(random);
  int fallen = 0;
  for (auto& child : children) fallen += !child.join().has_value();
  totals.panics -=
      fallen;  // each panic is counted where it happens and taken back where it is seen
  if (random.one_in(3)) {
    ++totals.panics;
    throw std::runtime_error("a branch breaks");
  }
}

}  // namespace

TEST_SUITE("stress actor") {
  TEST_CASE("park and unpark storm: no wake-up is lost") {
    storm([](Random&) {
      constexpr int kSleepers = 12, kWakers = 6;
      const int each = scaled(2000) * kSleepers;  // a waker wakes every sleeper equally often
      std::vector<std::atomic<int>> pending(kSleepers);
      std::atomic<int> consumed = 0;
      std::vector<smarm::JoinHandle> sleepers, wakers;
      for (int s = 0; s < kSleepers; ++s)
        sleepers.push_back(smarm::spawn([&, s] {
          const int wanted = kWakers * each / kSleepers;
          for (int got = 0; got < wanted;) {
            const int n = pending[static_cast<std::size_t>(s)].exchange(0);
            if (n == 0) smarm::park_current();
            got += n;
            consumed += n;
          }
        }));
      for (int w = 0; w < kWakers; ++w)
        wakers.push_back(smarm::spawn([&, w] {
          Random random(static_cast<std::uint64_t>(w) + 100);
          for (int i = 0; i < each; ++i) {
            const auto target = static_cast<std::size_t>((i + w) % kSleepers);
            ++pending[target];
            smarm::unpark(sleepers[target].pid());
            jitter(random);
          }
        }));
      check_all(wakers);
      check_all(sleepers);
      CHECK(consumed == kWakers * each);
    });
  }

  TEST_CASE("foreign threads unpark, send, stop and kill while actors come and go") {
    storm([](Random& random) {
      const int rounds = scaled(150);
      for (int round = 0; round < rounds; ++round) {
        std::atomic<int> live = 0;
        auto [tx, rx] = smarm::channel<int>();
        std::vector<smarm::JoinHandle> actors;
        std::vector<smarm::Pid> pids;
        for (int a = 0; a < 12; ++a) {
          actors.push_back(smarm::spawn([&live, a] {
            Counted counted(live);
            if (a % 2) {
              while (!smarm::stop_requested()) smarm::park_current();
            } else {
              for (;;) smarm::park_current();
            }
          }));
          pids.push_back(actors.back().pid());
        }
        std::vector<std::thread> threads;
        for (int t = 0; t < 3; ++t)
          threads.emplace_back([&pids, tx = tx, stream = random.next()] {
            Random own(stream);
            for (int i = 0; i < 60; ++i) {
              smarm::unpark(pids[static_cast<std::size_t>(own.below(12))]);
              (void)tx.send(i);
            }
            for (std::size_t a = 0; a < 12; ++a) {
              if (a % 2) {
                smarm::stop(pids[a]);
                smarm::unpark(pids[a]);
              } else {
                smarm::kill(pids[a]);
              }
            }
          });
        tx = {};
        long sum = 0;
        auto joiner = smarm::spawn([&threads] {
          smarm::block_on_io([&threads] {
            for (auto& t : threads) t.join();
          });
        });
        while (auto v = rx.recv()) sum += *v;
        CHECK(sum == 3 * 60 * 59 / 2);
        CHECK(joiner.join());
        bool right = true;
        for (std::size_t a = 0; a < 12; ++a) {
          auto end = actors[a].join();
          right = right && (a % 2 ? end.has_value() : !end && end.error().killed());
        }
        CHECK(right);
        CHECK(live == 0);
      }
    });
  }

  TEST_CASE("spawn trees: every node runs, every panic is seen by its parent") {
    storm([](Random& random) {
      for (int round = 0; round < scaled_actors(200); ++round) {
        Totals totals;
        auto root = smarm::spawn([&totals, stream = random.next()] { grow(totals, stream, 6); });
        if (!root.join()) --totals.panics;
        CHECK(totals.nodes >= 1);
        CHECK(totals.panics == 0);
        CHECK(totals.live == 0);
      }
    });
  }

  TEST_CASE("a flood of short actors, joined and detached") {
    storm([](Random& random) {
      std::atomic<int> ran = 0;
      const int count = scaled_actors(100000);
      std::vector<smarm::JoinHandle> kept;
      for (int i = 0; i < count; ++i) {
        auto handle = smarm::spawn([&ran] { ++ran; });
        if (random.one_in(2)) kept.push_back(std::move(handle));
        if (random.one_in(100)) check_all(kept), kept.clear();
      }
      check_all(kept);
      CHECK(yield_until([&] { return ran == count; }));
    });
  }

  TEST_CASE("kill storm: whatever an actor waits for, its destructors run once") {
    storm([](Random& random) {
      smarm::Mutex<int> taken(0);
      auto guard = taken.lock();
      FdPair quiet(FdPair::socket);
      std::atomic<int> live = 0;
      for (int round = 0; round < scaled(kSlow ? 80 : 200); ++round) {
        std::vector<smarm::JoinHandle> victims;
        for (int v = 0; v < 45; ++v)
          victims.push_back(smarm::spawn([&, v] {
            Counted outer(live);
            Counted inner(live);
            wait_somehow(v, taken, quiet.reader());
          }));
        auto killer = [&](std::uint64_t stream) {
          return smarm::spawn([&, stream] {
            Random own(stream);
            for (int i = 0; i < 60; ++i) {
              smarm::kill(victims[static_cast<std::size_t>(own.below(45))].pid());
              jitter(own);
            }
          });
        };
        auto a = killer(random.next()), b = killer(random.next());
        CHECK(a.join());
        CHECK(b.join());
        for (auto& victim : victims) smarm::kill(victim.pid());
        int killed = 0;
        for (auto& victim : victims) {
          auto end = victim.join();
          killed += !end && end.error().killed();
        }
        CHECK(killed == 45);
        CHECK(live == 0);
      }
    });
  }

  TEST_CASE("stop storm: actors with names and stop channels end while others stop them") {
    storm([](Random& random) {
      for (int round = 0; round < scaled(kSlow ? 50 : 150); ++round) {
        constexpr int kActors = 24;
        std::atomic<int> asked_wrongly = 0;
        std::vector<smarm::JoinHandle> actors;
        std::vector<smarm::Pid> pids;
        for (int a = 0; a < kActors; ++a) {
          actors.push_back(smarm::spawn(
              {.name = "an actor whose name is on the heap"}, [stream = random.next()] {
                Random own(stream);
                // One with a stop channel, one without; both end when they like.
                smarm::Receiver<char> stop;
                if (own.one_in(2)) stop = smarm::Receiver<char>(smarm_stop_channel());
                for (int i = own.below(4); i > 0 && !smarm::stop_requested(); --i)
                  smarm::yield_now();
              }));
          pids.push_back(actors.back().pid());
        }
        auto stop_all = [&pids](std::uint64_t stream) {
          Random own(stream);
          for (int i = 0; i < 2 * kActors; ++i)
            smarm::stop(pids[static_cast<std::size_t>(own.below(kActors))]);
        };
        std::thread foreign([&] { stop_all(7); });
        auto stopper = smarm::spawn([&] { stop_all(8); });
        // The slots are used again at once: a stop must not hit who comes next.
        std::vector<smarm::JoinHandle> next;
        for (int a = 0; a < kActors; ++a) {
          CHECK(actors[static_cast<std::size_t>(a)].join());
          next.push_back(smarm::spawn([&asked_wrongly] {
            smarm::yield_now();
            if (smarm::stop_requested()) ++asked_wrongly;
          }));
        }
        check_all(next);
        CHECK(stopper.join());
        smarm::block_on_io([&foreign] { foreign.join(); });
        CHECK(asked_wrongly == 0);
      }
    });
  }

  TEST_CASE("spawn storm with names and deadlines: no name, timer or Timeout outlives its actor") {
    const auto start = SteadyClock::now();
    storm([](Random& random) {
      auto [tx, mailbox] = smarm::channel<smarm::Signal>();
      smarm::register_supervisor_channel(smarm::self_pid(), std::move(tx));
      std::atomic<bool> over = false;
      std::atomic<int> strange = 0;
      const smarm::SpawnOptions named{.name = "thirty-one characters of a name", .deadline = 1h};
      // Reads the names meanwhile, from outside.
      std::thread reader([&over, &strange, &named] {
        std::vector<smarm_actor_info> actors(256);
        while (!over) {
          const std::size_t n = std::min(actors.size(), smarm_actor_list(actors.data(), 256));
          for (std::size_t i = 0; i < n; ++i) {
            const std::string_view name = actors[i].name;
            if (!name.empty() && name != named.name) ++strange;
          }
          std::this_thread::yield();
        }
      });
      const int count = scaled_actors(4000);
      int exits = 0;
      std::vector<smarm::JoinHandle> kept;
      for (int i = 0; i < count; ++i) {
        auto handle = smarm::spawn(named, [] {});
        (void)smarm::spawn_under(smarm::ROOT_PID, [&strange, &named] {
          // No name of its own: the slot's last life may have had one.
          std::vector<smarm_actor_info> all(64);
          const std::size_t n = std::min(all.size(), smarm_actor_list(all.data(), all.size()));
          for (std::size_t k = 0; k < n; ++k)
            if (smarm::Pid(all[k].pid) == smarm::self_pid() && all[k].name[0]) ++strange;
        });
        if (random.one_in(3)) kept.push_back(std::move(handle));
        if (random.one_in(50)) check_all(kept), kept.clear();
        while (auto signal = mailbox.try_recv()) {
          ++exits;
          if (!std::holds_alternative<smarm::Exit>(*signal)) ++strange;
        }
        jitter(random);
      }
      check_all(kept);
      while (exits < count) {
        auto signal = mailbox.recv_timeout(kPatience);
        if (!signal) break;
        ++exits;
        if (!std::holds_alternative<smarm::Exit>(*signal)) ++strange;
      }
      CHECK(exits == count);
      CHECK(strange == 0);
      over = true;
      smarm::block_on_io([&reader] { reader.join(); });
    });
    CHECK(SteadyClock::now() - start < 20min);  // a deadline left behind keeps run for an hour
  }

  TEST_CASE("deadline storm: deadlines race with the ends, and each child has one end") {
    storm([](Random& random) {
      auto [tx, mailbox] = smarm::channel<smarm::Signal>();
      smarm::register_supervisor_channel(smarm::self_pid(), std::move(tx));
      const int count = scaled_actors(2000);
      int ends = 0, timeouts = 0, killed = 0;
      auto take = [&](const smarm::Signal& signal) {
        if (std::holds_alternative<smarm::Timeout>(signal)) {
          ++timeouts;
        } else {
          ++ends;
          killed += std::holds_alternative<smarm::Panic>(signal);
        }
      };
      for (int i = 0; i < count; ++i) {
        (void)smarm::spawn({.name = "short", .deadline = random.micros(300) + 1us},
                           [pause = random.micros(300)] { smarm::sleep(pause); });
        while (auto signal = mailbox.try_recv()) take(*signal);
        jitter(random);
      }
      while (ends < count) {
        auto signal = mailbox.recv_timeout(kPatience);
        if (!signal) break;
        take(*signal);
      }
      CHECK(ends == count);
      CHECK(killed <= timeouts);
    });
  }

  TEST_CASE("abandon storm: killed where nothing can be unwound, nobody else is harmed") {
    storm([](Random& random) {
      for (int round = 0; round < scaled(10); ++round) {
        std::vector<smarm::JoinHandle> victims, others;
        for (int v = 0; v < 8; ++v) {
          victims.push_back(smarm::spawn([v] {
            struct Parks {
              ~Parks() { smarm::park_current(); }
            };
            if (v % 2) {
              const Parks parks;
            } else {
              try {
                throw v;
              } catch (const int& caught) {
                lost_on_purpose(&caught);
                try {
                  smarm::park_current();
                } catch (...) {
                  throw;
                }
              }
            }
          }));
          others.push_back(smarm::spawn([stream = random.next()] {
            Random own(stream);
            for (int i = 0; i < 50; ++i) {
              try {
                throw i;
              } catch (int got) {
                jitter(own);
                if (got != i) throw std::logic_error("another's exception");
              }
            }
          }));
        }
        for (auto& victim : victims) {
          CHECK(yield_until_parked(victim.pid()));
          smarm::kill(victim.pid());
        }
        int abandoned = 0;
        for (auto& victim : victims) {
          auto end = victim.join();
          abandoned +=
              !end && end.error().killed() &&
              std::string_view(end.error().what()).find("abandoned") != std::string_view::npos;
        }
        CHECK(abandoned == 8);
        check_all(others);
      }
    });
  }
}
