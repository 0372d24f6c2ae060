// Reading from TCP, where a short read tells that nothing is left: what may lie behind one.
#include "tests/unit/public/io_support.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>

#include <array>
#include <cstdio>
#include <span>
#include <system_error>
#include <vector>

using namespace test;

namespace {

// A stream, and the bare socket at its other end, which the test works by hand.
struct Ends {
  smarm::TcpStream stream;
  int peer = -1;
  Ends() {
    auto listener = smarm::TcpListener::bind("127.0.0.1", 0).value();
    peer = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(listener.port());
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(peer, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0);
    stream = listener.accept(kPatience).value();
  }
  ~Ends() { close_peer(); }
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;
  void send(std::string_view text, int flags = 0) const {
    REQUIRE(::send(peer, text.data(), text.size(), flags | MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
  }
  void close_peer() {
    if (peer >= 0) ::close(std::exchange(peer, -1));
  }
  // What the next read gives; "-" and the error's name when it is one.
  std::string read(std::size_t size = 64) {
    std::string text(size, '\0');
    auto n = stream.read(text, kPatience);
    if (!n) return "-" + n.error().code.message();
    text.resize(*n);
    return text;
  }
  // Another actor does that while this one reads.
  template <class F>
  std::string read_while(F f) {
    auto other = smarm::spawn([reader = smarm::self_pid(), &f] {
      yield_until_parked(reader);
      f();
    });
    std::string text = read();
    CHECK(other.join());
    return text;
  }
};

smarm::IoResult<std::size_t> read_some(smarm::TcpStream& stream, smarm::Wait timeout = {}) {
  std::array<char, 8> buffer;
  return stream.read(buffer, timeout);
}

}  // namespace

TEST_SUITE("public tcp read") {
  TEST_CASE("bytes and the end that came together: the bytes, then the end") {
    run_at_each_worker_count([] {
      Ends ends;
      ends.send("last words");
      ends.close_peer();
      CHECK(ends.read() == "last words");
      CHECK(ends.read().empty());
      CHECK(ends.read().empty());  // it stays the end
    });
  }

  TEST_CASE("bytes and the end that came together, for a reader that waits") {
    run_at_each_worker_count([] {
      Ends ends;
      CHECK(ends.read_while([&] {
        ends.send("last words");
        ends.close_peer();
      }) == "last words");
      CHECK(ends.read().empty());
    });
  }

  TEST_CASE("bytes that come between a short read and the next one are not waited for") {
    run_at_each_worker_count([] {
      Ends ends;
      for (int i = 0; i < 200; ++i) {
        const std::string text = "message " + std::to_string(i);
        ends.send(text);
        CHECK(ends.read() == text);  // short: the next read waits, unless an edge comes first
        if (i % 3 == 0) smarm::yield_now();
      }
      CHECK(ends.read_while([&] { ends.send("waited for"); }) == "waited for");
    });
  }

  TEST_CASE("a read that fills its buffer exactly leaves the rest for the next one") {
    run_at_each_worker_count([] {
      Ends ends;
      ends.send("abcdefgh");
      CHECK(ends.read(4) == "abcd");
      CHECK(ends.read(4) == "efgh");  // nothing is left, but the size does not tell
      CHECK(ends.read_while([&] { ends.send("more"); }) == "more");
    });
  }

  TEST_CASE("a read stops short at urgent data, and what is behind it is not lost") {
    run_at_each_worker_count([] {
      Ends ends;
      ends.send("before");
      ends.send("!", MSG_OOB);
      ends.send("after");
      CHECK(ends.read() == "before");
      CHECK(ends.read() == "after");
      CHECK(ends.read_while([&] {
        ends.send("be");
        ends.send("!", MSG_OOB);
        ends.send("hind");
      }) == "be");
      CHECK(ends.read() == "hind");
    });
  }

  TEST_CASE("a peer that resets: what was read stands, then the error") {
    run_at_each_worker_count([] {
      Ends ends;
      ends.send("some");
      CHECK(ends.read() == "some");
      CHECK(ends.read_while([&] {
        const linger at_once{1, 0};
        ::setsockopt(ends.peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        ends.close_peer();
      }) == "-Connection reset by peer");
      CHECK(ends.read().empty());
    });
  }

  TEST_CASE("two readers of one stream share what comes, and nothing stays behind") {
    run_at_each_worker_count([] {
      Ends ends;
      constexpr std::size_t kAll = 2000;
      std::atomic<std::size_t> got{0};
      const auto read_some = [&] {
        std::array<char, 7> buffer;
        while (got < kAll) {
          auto n = ends.stream.read(buffer, kPatience);
          if (!n || *n == 0) return;
          got += *n;
        }
      };
      auto one = smarm::spawn(read_some), two = smarm::spawn(read_some);
      for (std::size_t sent = 0; sent < kAll; sent += 10) {
        ends.send("0123456789");
        smarm::yield_now();
      }
      CHECK(yield_until([&] { return got == kAll; }));
      ends.close_peer();  // ends the one that waits
      CHECK(one.join());
      CHECK(two.join());
    });
  }

  TEST_CASE("a reader that is killed in its wait leaves the stream to the next one") {
    run_at_each_worker_count([] {
      Ends ends;
      auto reader = smarm::spawn([&] { (void)ends.read(); });
      REQUIRE(yield_until_parked(reader.pid()));
      smarm::kill(reader.pid());
      CHECK_FALSE(reader.join());
      CHECK(ends.read_while([&] { ends.send("for the next"); }) == "for the next");
    });
  }

  TEST_CASE("a read whose time has run out loses nothing that comes later") {
    run_at_each_worker_count([] {
      Ends ends;
      std::array<char, 64> buffer;
      ends.send("x");
      CHECK(ends.read() == "x");
      auto late = ends.stream.read(buffer, 1ms);
      REQUIRE_FALSE(late.has_value());
      CHECK(late.error().code == std::errc::timed_out);
      ends.send("later");
      CHECK(ends.read() == "later");
    });
  }

  TEST_CASE("a read that does not wait takes what has come since the last one") {
    run_at_each_worker_count([] {
      Ends ends;
      std::array<char, 64> buffer;
      for (int i = 0; i < 50; ++i) {
        ends.send("x");
        CHECK(ends.read() == "x");  // short
        CHECK(ends.stream.read(buffer, 0ns).error().code == std::errc::timed_out);
        ends.send("yz");  // of which nobody has told the runtime yet
        CHECK(ends.stream.read(buffer, 0ns).value() == 2);
      }
    });
  }

  TEST_CASE("nothing is asked for: a read of no bytes and a write of none answer 0 at once") {
    run_at_each_worker_count([] {
      Ends ends;
      CHECK(ends.stream.read(std::span<char>(), kPatience).value() == 0);
      ends.send("x");
      CHECK(ends.read() == "x");
      CHECK(ends.stream.read(std::span<char>(), kPatience).value() == 0);
      // Also when the peer takes nothing more.
      std::string block(1 << 16, 'b');
      while (ends.stream.write(block, 1ms)) {
      }
      CHECK(ends.stream.write(std::span<const char>(), kPatience).value() == 0);
      CHECK(ends.stream.write_all(std::span<const char>(), kPatience).has_value());
    });
  }

  TEST_CASE(
      "an urgent byte, which no read takes: a reader is killed, closed or late all the same") {
    run_at_each_worker_count([] {
      for (int i = 0; i < 30; ++i) {
        Ends ends;
        auto reader = smarm::spawn([&] { (void)read_some(ends.stream); });
        if (i % 2) CHECK(yield_until_parked(reader.pid()));
        ends.send("!", MSG_OOB);
        if (i % 3) smarm::yield_now();
        CHECK(smarm::kill(reader.pid()));
        CHECK(reader.join().error().killed());
        // The mark stands: this one begins beside it.
        CHECK(read_some(ends.stream, i % 4 * 1ms).error().code == std::errc::timed_out);
        auto closed = smarm::spawn(
            [&] { CHECK(read_some(ends.stream).error().code == std::errc::bad_file_descriptor); });
        CHECK(yield_until_parked(closed.pid()));
        if (i % 3) smarm::yield_now();
        ends.stream.close();
        CHECK(closed.join());
      }
    });
  }

  TEST_CASE("two read one stream and one byte comes: the other one waits, and can be killed") {
    run_at_each_worker_count([] {
      for (int i = 0; i < 30; ++i) {
        Ends ends;
        std::atomic<int> got{0};
        std::vector<smarm::JoinHandle> readers;
        for (int r = 0; r < 2; ++r)
          readers.push_back(smarm::spawn([&] {
            std::array<char, 8> buffer;
            while (ends.stream.read(buffer)) got.fetch_add(1);
          }));
        if (i % 2) {
          for (auto& r : readers) CHECK(yield_until_parked(r.pid()));
        }
        ends.send("1");
        if (i % 3) CHECK(yield_until([&] { return got == 1; }));
        for (auto& r : readers) CHECK(smarm::kill(r.pid()));
        for (auto& r : readers) CHECK(r.join().error().killed());
      }
    });
  }

  // The kernel tells of them as of an error.
  TEST_CASE("a read beside notifications that nobody takes runs out of time, or is served") {
    run_at_each_worker_count([] {
      Ends ends;
      const int on = 1;
      REQUIRE(::setsockopt(ends.stream.fd(), SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) == 0);
      REQUIRE(::send(ends.stream.fd(), "hello", 5, MSG_ZEROCOPY) == 5);
      std::array<char, 8> buffer;
      REQUIRE(::recv(ends.peer, buffer.data(), buffer.size(), 0) == 5);
      CHECK(yield_until([&] {
        pollfd p{ends.stream.fd(), POLLIN, 0};
        return ::poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
      }));
      CHECK(ends.stream.read(buffer, 30ms).error().code == std::errc::timed_out);
      CHECK(ends.read_while([&] { ends.send("served"); }) == "served");
    });
  }

  TEST_CASE("buffers of 4 GiB and more are read into, and written from") {
    if (kValgrind) {
      std::puts(
          "SKIP: buffers of 4 GiB and more are read into, and written from: memcheck has not "
          "the memory");
      return;
    }
    const std::size_t huge = std::size_t{1} << 32;
    void* memory = ::mmap(nullptr, huge, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    run_at_each_worker_count([&] {
      Ends ends;
      const std::span<char> all(static_cast<char*>(memory), huge);
      ends.send("x");
      CHECK(ends.stream.read(all.first(2), kPatience).value() == 1);
      auto other = smarm::spawn([&, reader = smarm::self_pid()] {
        yield_until_parked(reader);
        ends.send("four");
      });
      CHECK(ends.stream.read(all, kPatience).value() == 4);
      CHECK(other.join());
      CHECK(ends.stream.write(all, kPatience).value() > 0);
    });
    ::munmap(memory, huge);
  }
}
