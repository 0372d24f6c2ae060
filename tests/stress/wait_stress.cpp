// Storms of locks, timers and IO.
#include "tests/stress/stress.hpp"
#include "tests/unit/public/account_support.hpp"

#include <array>

using namespace stress;

TEST_SUITE("stress wait") {
  TEST_CASE("mutex storm with timeouts: exclusion holds, every lock is given back") {
    storm([](Random&) {
      constexpr int kMutexes = 3, kActors = 12;
      const int each = scaled(2000);
      struct Cell {
        long value = 0;
        bool inside = false;
      };
      std::vector<std::unique_ptr<smarm::Mutex<Cell>>> mutexes;
      for (int i = 0; i < kMutexes; ++i) mutexes.push_back(std::make_unique<smarm::Mutex<Cell>>());
      std::atomic<long> done = 0, timeouts = 0, broken = 0, lost = 0;
      std::vector<smarm::JoinHandle> actors;
      for (int a = 0; a < kActors; ++a)
        actors.push_back(smarm::spawn([&, a] {
          Random random(static_cast<std::uint64_t>(a));
          for (int i = 0; i < each; ++i) {
            auto& mutex = *mutexes[static_cast<std::size_t>(random.below(kMutexes))];
            const bool hasty = random.one_in(3);
            auto cell =
                hasty ? mutex.lock_timeout(random.micros(300)) : mutex.lock_timeout(kPatience);
            if (!cell) {
              ++(hasty ? timeouts : lost);  // nobody holds it for long: patience is only used up
                                            // when a wake-up was lost
              continue;
            }
            if (std::exchange((*cell)->inside, true)) ++broken;
            const long before = (*cell)->value;
            jitter(random);
            (*cell)->value = before + 1;
            (*cell)->inside = false;
            ++done;
          }
        }));
      check_all(actors);
      long sum = 0;
      for (auto& mutex : mutexes) {
        auto cell = mutex->try_lock();
        REQUIRE(cell.has_value());
        sum += (*cell)->value;
      }
      CHECK(broken == 0);
      CHECK(lost == 0);
      CHECK(sum == done);
      CHECK(done + timeouts == kActors * each);
    });
  }

  TEST_CASE("mutex storm with kills: a killed waiter or holder never keeps the lock") {
    storm([](Random& random) {
      smarm::Mutex<int> mutex(0);
      std::atomic<int> lost = 0;
      for (int round = 0; round < scaled(400) && lost == 0; ++round) {
        std::vector<smarm::JoinHandle> actors;
        for (int a = 0; a < 10; ++a)
          actors.push_back(smarm::spawn([&mutex, &lost] {
            for (int i = 0; i < 5; ++i) {
              auto guard = mutex.lock_timeout(kPatience);
              if (!guard) ++lost;
              smarm::yield_now();
            }
          }));
        for (int i = 0; i < 5; ++i) {
          smarm::yield_now();
          smarm::kill(actors[static_cast<std::size_t>(random.below(10))].pid());
        }
        smarm::join_all(actors);
        CHECK(mutex.try_lock().has_value());
      }
      CHECK(lost == 0);
    });
  }

  TEST_CASE("timer storm: each timer fires or is cancelled, never both, never neither") {
    storm([](Random&) {
      constexpr int kActors = 8;
      const int each = scaled(8000);
      struct Count {
        std::atomic<int> fired = 0;
      } count;
      std::atomic<int> cancelled = 0;
      std::vector<smarm::JoinHandle> actors;
      for (int a = 0; a < kActors; ++a)
        actors.push_back(smarm::spawn([&, a] {
          Random random(static_cast<std::uint64_t>(a));
          std::vector<smarm::Timer> open;
          for (int i = 0; i < each; ++i) {
            const std::int64_t after =
                random.one_in(10) ? 3'600'000'000'000 : random.below(20'000'000);
            smarm_timer* raw =
                smarm_timer_start(after, [](void* p) { ++static_cast<Count*>(p)->fired; }, &count);
            if (!raw) throw std::bad_alloc();
            open.emplace_back(raw);
            if (after > 1'000'000'000 || random.one_in(3)) {
              // An hour is always cancelled; of the others any one, soon or late.
              auto& timer =
                  after > 1'000'000'000
                      ? open.back()
                      : open[static_cast<std::size_t>(random.below(static_cast<int>(open.size())))];
              cancelled += timer.cancel();
              std::swap(timer, open.back());
              open.pop_back();
            }
            jitter(random);
          }
        }));
      check_all(actors);
      CHECK(yield_until([&] { return count.fired + cancelled >= kActors * each; }));
      smarm::sleep(2ms);
      CHECK(count.fired + cancelled == kActors * each);
    });
  }

  TEST_CASE("sleep storm: nobody wakes early") {
    storm([](Random&) {
      std::atomic<int> early = 0;
      std::vector<smarm::JoinHandle> actors;
      for (int a = 0; a < scaled(400); ++a)
        actors.push_back(smarm::spawn([a, &early] {
          Random random(static_cast<std::uint64_t>(a));
          for (int i = 0; i < 10; ++i) {
            const auto wanted = random.micros(15'000);
            const auto start = SteadyClock::now();
            smarm::sleep(wanted);
            if (SteadyClock::now() - start < wanted) ++early;
          }
        }));
      check_all(actors);
      CHECK(early == 0);
    });
  }

  TEST_CASE("pipe storm: random pieces through pipes and sockets of every kind arrive whole") {
    storm([](Random& random) {
      const int bytes_each = scaled(800'000, 5000);
      std::vector<smarm::JoinHandle> actors;
      for (int p = 0; p < 16; ++p)
        actors.push_back(smarm::spawn(
            {.name = "pair", .stack_size = 1 << 18}, [p, bytes_each, stream = random.next()] {
              FdPair pair(kEveryKind[p % 4]);
              const std::string data = pattern(static_cast<std::size_t>(bytes_each));
              auto writer = smarm::spawn([&data, fd = pair.writer(), stream] {
                Random own(stream);
                for (std::size_t at = 0; at < data.size();) {
                  const auto piece = std::min<std::size_t>(
                      static_cast<std::size_t>(1 + own.below(9000)), data.size() - at);
                  auto n = smarm::write(fd, {data.data() + at, piece}, kPatience);
                  if (!n) throw std::system_error(n.error());
                  at += *n;
                  jitter(own);
                }
              });
              Random own(stream + 1);
              std::string back;
              std::string buffer(7000, '\0');
              while (back.size() < data.size()) {
                const auto room =
                    std::span(buffer).first(static_cast<std::size_t>(1 + own.below(7000)));
                auto n = own.one_in(8) ? smarm::read(pair.reader(), room, own.micros(500))
                                       : smarm::read(pair.reader(), room, kPatience);
                if (n) {
                  back.append(room.data(), *n);
                } else if (n.error() != std::errc::timed_out) {
                  throw std::system_error(n.error());
                }
              }
              CHECK(writer.join());
              if (back != data) throw std::runtime_error("the bytes are not those that were sent");
            }));
      check_all(actors);
    });
  }

  TEST_CASE(
      "descriptor storm: pairs are made, waited on, killed and closed under the same few numbers") {
    storm([](Random& random) {
      for (int round = 0; round < scaled(kSlow ? 150 : 600); ++round) {
        std::vector<smarm::JoinHandle> actors;
        std::atomic<int> wrong = 0;
        for (int p = 0; p < 8; ++p)
          actors.push_back(smarm::spawn([p, &wrong, stream = random.next()] {
            Random own(stream);
            FdPair pair(kEveryKind[p % 4]);
            const bool doomed = own.one_in(3);
            auto reader = smarm::spawn([fd = pair.reader(), &wrong] {
              char c = 0;
              auto n = smarm::read(fd, {&c, 1}, kPatience);
              if (n != 1u || c != 'k') ++wrong;
            });
            jitter(own);
            if (doomed) smarm::kill(reader.pid());
            if (!doomed && smarm::write(pair.writer(), bytes("k"), kPatience) != 1u) ++wrong;
            const auto end = reader.join();
            if (!doomed && !end) ++wrong;
          }));
        check_all(actors);
        CHECK(wrong == 0);
      }
    });
  }

  TEST_CASE("TCP storm: connections come and go, every byte comes back") {
    storm([](Random&) {
      auto listener = smarm::TcpListener::bind("127.0.0.1", 0).value();
      const int clients = scaled(300);
      auto server = smarm::spawn([&listener, clients] {
        std::vector<smarm::JoinHandle> connections;
        for (int i = 0; i < clients; ++i) {
          auto stream = listener.accept(kPatience);
          if (!stream) throw std::runtime_error(stream.error().what());
          connections.push_back(smarm::spawn([stream = std::move(*stream)]() mutable {
            std::array<char, 2048> buffer;
            for (;;) {
              auto n = stream.read(buffer, kPatience);
              if (!n || *n == 0) return;
              if (!stream.write_all({buffer.data(), *n}, kPatience)) return;
            }
          }));
        }
        check_all(connections);
      });
      std::vector<smarm::JoinHandle> actors;
      for (int c = 0; c < clients; ++c)
        actors.push_back(smarm::spawn([c, port = listener.port()] {
          Random random(static_cast<std::uint64_t>(c));
          auto stream = smarm::TcpStream::connect("127.0.0.1", port, kPatience);
          if (!stream) throw std::runtime_error(stream.error().what());
          for (int i = 0; i < 10; ++i) {
            const std::string text = pattern(static_cast<std::size_t>(1 + random.below(5000)));
            std::string back(text.size(), '\0');
            if (!stream->write_all(bytes(text), kPatience) ||
                !stream->read_exact(back, kPatience) || back != text)
              throw std::runtime_error("the bytes did not come back");
            jitter(random);
          }
        }));
      check_all(actors);
      CHECK(server.join());
    });
  }

  TEST_CASE("kick storm: threads in turn wake an actor whose workers sleep") {
    storm([](Random&) {
      constexpr int kThreads = 4;
      const int rounds = scaled(kSlow ? 2000 : 20000);
      std::atomic<int> asked = 0, answered = 0;
      auto sleeper = smarm::spawn([&] {
        for (int round = 1; round <= rounds; ++round) {
          while (asked < round) smarm::park_current();
          answered = round;
          answered.notify_all();
        }
      });
      // The next one may wake it while the call of the one before has not returned.
      smarm::block_on_io([&, pid = sleeper.pid()] {
        std::vector<std::thread> threads;
        for (int t = 0; t < kThreads; ++t)
          threads.emplace_back([&, t] {
            for (int round = t + 1; round <= rounds; round += kThreads) {
              for (int last = answered; last != round - 1; last = answered) answered.wait(last);
              asked = round;
              smarm::unpark(pid);
            }
          });
        for (auto& thread : threads) thread.join();
      });
      CHECK(sleeper.join());
    });
  }

  TEST_CASE("blocking storm: jobs return to the right actor") {
    storm([](Random&) {
      std::vector<smarm::JoinHandle> actors;
      for (int a = 0; a < scaled(500); ++a)
        actors.push_back(smarm::spawn([a] {
          for (int i = 0; i < 10; ++i) {
            const int got = smarm::block_on_io([a, i] {
              if ((a + i) % 7 == 0) std::this_thread::yield();
              return a * 100 + i;
            });
            if (got != a * 100 + i) throw std::runtime_error("the result of another job");
          }
        }));
      check_all(actors);
    });
  }

  TEST_CASE("blocking storm of accounts: none takes all threads, and no job is lost by a kill") {
    for (unsigned workers : {1u, 2u, 4u}) {
      CAPTURE(workers);
      CAPTURE(seed());
      constexpr std::size_t kAccounts = 4;  // the first is nobody's
      const Account one(1, {1}), two(2, {2}), three(3, {3});
      std::array<std::atomic<int>, kAccounts> running{}, ran{};
      std::atomic<int> crowded = 0;
      smarm::Runtime runtime =
          smarm::init(config_at(workers).alloc_interval(16).blocking_threads(3));
      runtime.run([&] {
        Random random(workers);
        std::vector<smarm::JoinHandle> actors;
        for (int a = 0; a < scaled_actors(500, 40); ++a)
          actors.push_back(spawn_in(static_cast<std::uint64_t>(a) % kAccounts, [&, a] {
            const auto account = static_cast<std::size_t>(a) % kAccounts;
            for (int i = 0; i < 10; ++i)
              smarm::block_on_io([&, i] {
                if (++running[account] > 2 && account != 0) ++crowded;
                if ((a + i) % 3 == 0) std::this_thread::yield();
                ++ran[account];
                --running[account];
              });
          }));
        for (const auto& actor : actors) {
          jitter(random);
          if (random.one_in(4)) smarm::kill(actor.pid());
        }
        smarm::join_all(actors);
      });
      CHECK(crowded == 0);
      const smarm_blocking_stats stats = runtime.stats().blocking;
      CHECK(stats.running + stats.queued == 0);
      CHECK(stats.threads <= 3);
      smarm_blocking_owner owners[kAccounts];
      REQUIRE(smarm_runtime_blocking_owners(runtime.raw(), owners, kAccounts) == kAccounts);
      std::uint64_t sum = 0;
      for (const smarm_blocking_owner& o : owners) {
        CHECK(o.done_total == static_cast<std::uint64_t>(ran[o.account]));
        sum += o.done_total;
      }
      CHECK(stats.done_total == sum);
    }
  }

  TEST_CASE("socket close storm: one closes what others read; nobody reads what is not his") {
    storm([](Random& random) {
      // Others make and use sockets all the time, which get the numbers that are closed.
      std::atomic<bool> over = false;
      std::atomic<int> wrong = 0;
      std::vector<smarm::JoinHandle> neighbours;
      for (int n = 0; n < 3; ++n)
        neighbours.push_back(smarm::spawn([&over, &wrong] {
          while (!over) {
            FdPair pair(FdPair::socket);
            auto stream = smarm::UnixStream::adopt(::dup(pair.reader()));
            if (!stream || smarm::write(pair.writer(), bytes("n"), kPatience) != 1u) {
              ++wrong;
              return;
            }
            smarm::yield_now();
            char c = 0;
            if (stream->read({&c, 1}, kPatience).value_or(0) != 1 || c != 'n') ++wrong;
          }
        }));
      for (int round = 0; round < scaled(kSlow ? 100 : 300) && wrong == 0; ++round) {
        FdPair pair(FdPair::socket);
        auto stream = smarm::UnixStream::adopt(::dup(pair.reader())).value();
        std::atomic<int> got = 0, ended = 0;
        std::vector<smarm::JoinHandle> readers;
        for (int r = 0; r < 3; ++r)
          readers.push_back(smarm::spawn([&] {
            char c = 0;
            auto n = stream.read({&c, 1}, kPatience);
            if (n.value_or(0) == 1) {
              ++got;
              if (c != 'k') ++wrong;
            } else if (!n && n.error().code == std::errc::bad_file_descriptor) {
              ++ended;
            } else {
              ++wrong;
            }
          }));
        // A reader must be inside its call before the socket is closed.
        for (auto& reader : readers)
          if (!yield_until_parked(reader.pid())) ++wrong;
        auto writer = smarm::spawn([&pair, &wrong] {
          if (smarm::write(pair.writer(), bytes("k"), kPatience) != 1u) ++wrong;
        });
        if (random.one_in(2)) jitter(random);
        if (random.one_in(4)) {
          smarm::block_on_io([&stream] { stream.close(); });
        } else {
          stream.close();
        }
        check_all(readers);
        CHECK(writer.join());
        CHECK(got <= 1);
        CHECK(got + ended == 3);
      }
      over = true;
      check_all(neighbours);
      CHECK(wrong == 0);
    });
  }

  TEST_CASE("listener close storm: a listener is closed while others accept and connect") {
    storm([](Random& random) {
      for (int round = 0; round < scaled(100); ++round) {
        auto listener = smarm::TcpListener::bind("127.0.0.1", 0).value();
        const std::uint16_t port = listener.port();
        std::atomic<int> wrong = 0;
        std::vector<smarm::JoinHandle> acceptors, clients;
        for (int a = 0; a < 3; ++a)
          acceptors.push_back(smarm::spawn([&] {
            auto stream = listener.accept(kPatience);
            if (!stream && stream.error().code != std::errc::bad_file_descriptor) ++wrong;
          }));
        for (auto& acceptor : acceptors)
          if (!yield_until_parked(acceptor.pid())) ++wrong;
        for (int c = 0; c < 2; ++c)
          clients.push_back(smarm::spawn([&wrong, port] {
            auto stream = smarm::TcpStream::connect("127.0.0.1", port, kPatience);
            if (!stream && stream.error().code == std::errc::timed_out) ++wrong;
          }));
        jitter(random);
        listener.close();
        check_all(acceptors);
        check_all(clients);
        CHECK(wrong == 0);
      }
    });
  }

  TEST_CASE("acceptor storm: two acceptors and bursts of connections, none is left behind") {
    storm([](Random& random) {
      auto listener = smarm::TcpListener::bind("127.0.0.1", 0).value();
      std::atomic<int> accepted = 0;
      std::vector<smarm::JoinHandle> acceptors;
      for (int a = 0; a < 2; ++a)
        acceptors.push_back(smarm::spawn([&listener, &accepted, stream = random.next()] {
          Random own(stream);
          while (auto connection = listener.accept()) {
            ++accepted;
            jitter(own);
          }
        }));
      int expected = 0;
      bool all = true;
      for (int round = 0; round < scaled(150) && all; ++round) {
        const int burst = 1 + random.below(4);
        expected += burst;
        std::vector<smarm::JoinHandle> clients;
        for (int c = 0; c < burst; ++c)
          clients.push_back(smarm::spawn([port = listener.port()] {
            auto stream = smarm::TcpStream::connect("127.0.0.1", port, kPatience);
            if (!stream) throw std::runtime_error(stream.error().what());
          }));
        check_all(clients);
        all = yield_until([&] { return accepted == expected; });
      }
      CHECK(all);
      for (auto& acceptor : acceptors) CHECK(yield_until_parked(acceptor.pid()));
      listener.close();
      check_all(acceptors);
    });
  }
}
