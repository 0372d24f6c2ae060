// wait_readable, wait_writable, read and write on any file descriptor.
#include "tests/unit/public/io_support.hpp"

#include <system_error>

using namespace test;

TEST_SUITE("public io") {
  TEST_CASE("read parks until there is something; the worker runs others meanwhile") {
    for_each_kind([](FdPair::Kind kind) {
      FdPair pair(kind);
      auto reader = smarm::spawn([fd = pair.reader()] {
        char buffer[16];
        auto n = smarm::read(fd, buffer);
        REQUIRE(n.has_value());
        CHECK(std::string_view(buffer, *n) == "hello");
      });
      CHECK(yield_until_parked(reader.pid()));
      CHECK(smarm::write(pair.writer(), bytes("hello")) == 5u);
      CHECK(reader.join());
    });
  }

  TEST_CASE("read answers what is there, 0 at the end of the stream") {
    for_each_kind([](FdPair::Kind kind) {
      FdPair pair(kind);
      CHECK(smarm::write(pair.writer(), bytes("abc")) == 3u);
      pair.close_writer();
      char buffer[64];
      CHECK(smarm::read(pair.reader(), buffer) == 3u);
      CHECK(smarm::read(pair.reader(), buffer) == 0u);
      CHECK(smarm::wait_readable(pair.reader()).has_value());
      CHECK(smarm::read(pair.reader(), buffer, 0ms) == 0u);
    });
  }

  TEST_CASE("a reader that waits is woken by the end of the stream") {
    for_each_kind([](FdPair::Kind kind) {
      FdPair pair(kind);
      auto reader = smarm::spawn([fd = pair.reader()] {
        char c;
        CHECK(smarm::read(fd, {&c, 1}) == 0u);
      });
      CHECK(yield_until_parked(reader.pid()));
      pair.close_writer();
      CHECK(reader.join());
    });
  }

  TEST_CASE(
      "a megabyte goes through, though neither end is O_NONBLOCK: a blocking fd never blocks the "
      "worker") {
    for_each_kind([](FdPair::Kind kind) {
      FdPair pair(kind);
      const std::string data = pattern(1 << 20);
      auto writer = smarm::spawn([&data, fd = pair.writer()] { CHECK(write_all(fd, data)); });
      CHECK(yield_until_parked(writer.pid()));  // the buffer of the kernel is full
      CHECK(read_n(pair.reader(), data.size()) == data);
      CHECK(writer.join());
    });
  }

  TEST_CASE("times run out: wait_readable, read, wait_writable and write") {
    for_each_kind([](FdPair::Kind kind) {
      FdPair pair(kind);
      char c;
      for (auto limit : {0ms, 20ms}) {
        auto start = SteadyClock::now();
        auto waited = smarm::wait_readable(pair.reader(), limit);
        REQUIRE_FALSE(waited.has_value());
        CHECK(waited.error() == std::errc::timed_out);
        CHECK(SteadyClock::now() - start >= limit);
        start = SteadyClock::now();
        auto got = smarm::read(pair.reader(), {&c, 1}, limit);
        REQUIRE_FALSE(got.has_value());
        CHECK(got.error() == std::errc::timed_out);
        CHECK(SteadyClock::now() - start >= limit);
      }
      CHECK(smarm::wait_writable(pair.writer(), 0ms).has_value());
      const std::string junk(65536, 'j');
      while (smarm::write(pair.writer(), bytes(junk), 10ms)) {
      }
      auto full = smarm::write(pair.writer(), bytes(junk), 20ms);
      REQUIRE_FALSE(full.has_value());
      CHECK(full.error() == std::errc::timed_out);
      auto writable = smarm::wait_writable(pair.writer(), 20ms);
      REQUIRE_FALSE(writable.has_value());
      CHECK(writable.error() == std::errc::timed_out);
      // After a time-out the fd is as good as before.
      auto waiter = smarm::spawn(
          [fd = pair.writer()] { CHECK(smarm::wait_writable(fd, kPatience).has_value()); });
      CHECK(yield_until_parked(waiter.pid()));
      std::string sink(1 << 16, '\0');
      while (smarm::read(pair.reader(), sink, 0ms)) {
      }
      CHECK(waiter.join());
    });
  }

  TEST_CASE("a partial raw read by others in between does not lose an edge") {
    for_each_kind([](FdPair::Kind kind) {
      FdPair pair(kind);
      CHECK(smarm::write(pair.writer(), bytes("abcd")) == 4u);
      CHECK(smarm::wait_readable(pair.reader()).has_value());
      char c;
      CHECK(::read(pair.reader(), &c, 1) == 1);
      for (char expected : {'b', 'c', 'd'}) {
        CHECK(smarm::wait_readable(pair.reader(), kPatience).has_value());  // level, not edge
        CHECK(::read(pair.reader(), &c, 1) == 1);
        CHECK(c == expected);
      }
      CHECK(smarm::wait_readable(pair.reader(), 0ms).error() == std::errc::timed_out);
    });
  }

  TEST_CASE("two actors wait on one fd: both are woken in the end") {
    for_each_kind([](FdPair::Kind kind) {
      FdPair pair(kind);
      std::atomic<int> got = 0;
      auto read_one = [&got, fd = pair.reader()] {
        char c;
        if (smarm::read(fd, {&c, 1}, kPatience) == 1u) got += c;
      };
      auto a = smarm::spawn(read_one), b = smarm::spawn(read_one);
      CHECK(yield_until_parked(a.pid()));
      CHECK(yield_until_parked(b.pid()));
      CHECK(smarm::write(pair.writer(), bytes("\x01")) == 1u);
      CHECK(yield_until([&got] { return got == 1; }));
      CHECK(smarm::write(pair.writer(), bytes("\x02")) == 1u);
      CHECK(a.join());
      CHECK(b.join());
      CHECK(got == 3);
    });
  }

  TEST_CASE("one fd may have a waiting reader and a waiting writer") {
    run_at_each_worker_count([] {
      FdPair pair(FdPair::socket);
      const std::string data = pattern(1 << 19);
      auto writer = smarm::spawn([&data, fd = pair.reader()] { CHECK(write_all(fd, data)); });
      CHECK(yield_until_parked(writer.pid()));
      auto reader = smarm::spawn([fd = pair.reader()] { CHECK(read_n(fd, 3) == "abc"); });
      CHECK(yield_until_parked(reader.pid()));
      CHECK(write_all(pair.writer(), "abc"));
      CHECK(reader.join());
      CHECK(parked(writer.pid()));
      CHECK(read_n(pair.writer(), data.size()) == data);
      CHECK(writer.join());
    });
  }

  TEST_CASE("a closed and reused fd number never wakes the actor that waited on the old one") {
    for_each_kind([](FdPair::Kind kind) {
      FdPair old_pair(kind);
      const int reader_number = old_pair.reader(), writer_number = old_pair.writer();
      auto old_waiter = smarm::spawn([reader_number] {
        auto waited = smarm::wait_readable(reader_number, 300ms);
        REQUIRE_FALSE(waited.has_value());
        CHECK((waited.error() == std::errc::timed_out ||
               waited.error() == std::errc::bad_file_descriptor));
      });
      CHECK(yield_until_parked(old_waiter.pid()));
      FdPair new_pair(kind);
      new_pair.take_numbers_of(old_pair);
      auto new_waiter = smarm::spawn(
          [reader_number] { CHECK(smarm::wait_readable(reader_number, kPatience).has_value()); });
      CHECK(yield_until_parked(new_waiter.pid()));
      CHECK(smarm::write(writer_number, bytes("x"), kPatience) == 1u);
      CHECK(new_waiter.join());
      CHECK(old_waiter.join());
    });
  }

  TEST_CASE("a number that is closed and reused over and over works each time") {
    for_each_kind([](FdPair::Kind kind) {
      for (int i = 0; i < 200; ++i) {
        FdPair pair(kind);
        auto reader = smarm::spawn([fd = pair.reader(), i] {
          char c = 0;
          CHECK(smarm::read(fd, {&c, 1}, kPatience) == 1u);
          CHECK(c == static_cast<char>('a' + i % 26));
        });
        if (i % 2) CHECK(yield_until_parked(reader.pid()));
        const char c = static_cast<char>('a' + i % 26);
        CHECK(smarm::write(pair.writer(), {&c, 1}, kPatience) == 1u);
        CHECK(reader.join());
      }
    });
  }

  TEST_CASE("errors are values: a closed number, a broken pipe, a directory") {
    run_at_each_worker_count([] {
      char c;
      CHECK(smarm::read(-1, {&c, 1}).error() == std::errc::bad_file_descriptor);
      CHECK(smarm::wait_readable(-1).error() == std::errc::bad_file_descriptor);
      CHECK(smarm::write(-1, bytes("x")).error() == std::errc::bad_file_descriptor);
      FdPair pair(FdPair::pipe);
      pair.close_reader();
      CHECK(smarm::write(pair.writer(), bytes("x")).error() == std::errc::broken_pipe);
      const int directory = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      REQUIRE(directory >= 0);
      CHECK(smarm::read(directory, {&c, 1}).error() == std::errc::is_a_directory);
      ::close(directory);
    });
  }

  TEST_CASE("regular files are always ready") {
    run_at_each_worker_count([] {
      char name[] = "/tmp/smarm-io-test-XXXXXX";
      const int fd = ::mkostemp(name, O_CLOEXEC);
      REQUIRE(fd >= 0);
      ::unlink(name);
      CHECK(smarm::wait_writable(fd, kPatience).has_value());
      CHECK(smarm::write(fd, bytes("on disk")) == 7u);
      CHECK(::lseek(fd, 0, SEEK_SET) == 0);
      CHECK(smarm::wait_readable(fd, kPatience).has_value());
      CHECK(read_n(fd, 100) == "on disk");
      ::close(fd);
    });
  }

  TEST_CASE("a regular file that is not in memory is read all the same") {
    run_at_each_worker_count([] {
      char name[] = "/var/tmp/smarm-io-test-XXXXXX";  // a disk, where there is one
      const int fd = ::mkostemp(name, O_CLOEXEC);
      REQUIRE(fd >= 0);
      ::unlink(name);
      const std::string data = pattern(1 << 20);
      CHECK(write_all(fd, data));
      CHECK(::fsync(fd) == 0);
      CHECK(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
      CHECK(::lseek(fd, 0, SEEK_SET) == 0);
      CHECK(read_n(fd, data.size()) == data);
      ::close(fd);
    });
  }

  TEST_CASE("an actor that ends in a wait leaves no descriptor and no interest behind") {
    run_at_each_worker_count([] {
      FdPair pair(FdPair::socket);
      for (int i = 0; i < 20; ++i) {
        auto waiter = smarm::spawn([fd = pair.reader()] { (void)smarm::wait_readable(fd); });
        CHECK(yield_until_parked(waiter.pid()));
        CHECK(smarm::kill(waiter.pid()));
        CHECK(waiter.join().error().killed());
      }
      CHECK(smarm::write(pair.writer(), bytes("x")) == 1u);
      CHECK(read_n(pair.reader(), 1) == "x");
    });
  }

  TEST_CASE("a hundred pairs ping and pong at once") {
    run_at_each_worker_count([] {
      constexpr int kPairs = 100, kRounds = kSlow ? 10 : 50;
      std::vector<smarm::JoinHandle> actors;
      for (int p = 0; p < kPairs; ++p)
        actors.push_back(smarm::spawn([p] {
          FdPair pair(kEveryKind[2 + p % 2]);
          auto echo = smarm::spawn([fd = pair.writer()] {
            for (int i = 0; i < kRounds; ++i) {
              std::string text = read_n(fd, 4);
              CHECK(write_all(fd, text));
            }
          });
          for (int i = 0; i < kRounds; ++i) {
            const std::string text =
                pattern(static_cast<std::size_t>(i + 4)).substr(static_cast<std::size_t>(i));
            CHECK(write_all(pair.reader(), text));
            CHECK(read_n(pair.reader(), 4) == text);
          }
          CHECK(echo.join());
        }));
      for (auto& end : smarm::join_all(actors)) CHECK(end);
    });
  }

  TEST_CASE("outside an actor they throw std::logic_error") {
    FdPair pair(FdPair::pipe);
    char c;
    CHECK_THROWS_AS(static_cast<void>(smarm::wait_readable(pair.reader(), 0ms)), std::logic_error);
    CHECK_THROWS_AS(static_cast<void>(smarm::read(pair.reader(), {&c, 1}, 0ms)), std::logic_error);
  }

  TEST_CASE(
      "a raw wait left on a closed number ends when a socket takes the number, and the socket "
      "hears what comes") {
    run_at_each_worker_count([] {
      FdPair pipe(FdPair::pipe);
      const int number = pipe.reader();
      std::error_code first, second;
      auto reader = smarm::spawn([&first, number] {
        if (auto r = smarm::wait_readable(number, kPatience); !r) first = r.error();
      });
      auto hasty = smarm::spawn([&second, number] {
        if (auto r = smarm::wait_readable(number, 500ms); !r) second = r.error();
      });
      CHECK(yield_until_parked(reader.pid()));
      CHECK(yield_until_parked(hasty.pid()));
      FdPair ends(FdPair::socket);
      REQUIRE(::dup3(ends.reader(), number, O_CLOEXEC) == number);  // closes the pipe's end
      pipe.forget_reader();
      ends.close_reader();
      auto stream = smarm::UnixStream::adopt(number);
      REQUIRE(stream.has_value());
      CHECK(hasty.join());
      CHECK(reader.join());
      CHECK(first == std::errc::bad_file_descriptor);
      CHECK(second == std::errc::bad_file_descriptor);
      // The socket's reader waits before its byte comes.
      auto listener = smarm::spawn([&stream] {
        char c = 0;
        CHECK(stream->read({&c, 1}, kPatience).value_or(0) == 1);
        CHECK(c == 's');
      });
      CHECK(yield_until_parked(listener.pid()));
      CHECK(smarm::write(ends.writer(), bytes("s"), kPatience) == 1u);
      CHECK(listener.join());
    });
  }
}
