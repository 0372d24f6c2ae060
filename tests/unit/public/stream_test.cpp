// What streams have in common, on pipes and sockets: vectors, ends, half-closed and broken ones.
#include "tests/unit/public/io_support.hpp"

#include <netinet/in.h>

#include <system_error>

using namespace test;

namespace {

std::pair<smarm::UnixStream, smarm::UnixStream> unix_pair() {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  return {smarm::UnixStream::adopt(ends[0]).value(), smarm::UnixStream::adopt(ends[1]).value()};
}

std::pair<smarm::TcpStream, smarm::TcpStream> tcp_pair() {
  auto listener = smarm::TcpListener::bind("127.0.0.1:0").value();
  auto client = smarm::TcpStream::connect("127.0.0.1", listener.port(), kPatience).value();
  return {std::move(client), listener.accept(kPatience).value()};
}

template <class Stream>
std::string read_to_end(Stream& from) {
  std::string text;
  std::array<char, 100> buffer;
  for (;;) {
    auto n = from.read(buffer, kPatience);
    if (!n) return text + "-" + n.error().code.message();
    if (*n == 0) return text;
    text.append(buffer.data(), *n);
  }
}

}  // namespace

TEST_SUITE("public streams") {
  TEST_CASE("a pipe carries bytes from one actor to another, and its end") {
    run_at_each_worker_count([] {
      auto pipe = smarm::make_pipe().value();
      const std::string all = pattern(300'000);  // more than a pipe holds
      auto writer = smarm::spawn([&all, out = std::move(pipe.writer)]() mutable {
        CHECK(out.write_all(all, kPatience).has_value());
      });
      CHECK(read_to_end(pipe.reader) == all);
      CHECK(writer.join());
    });
  }

  TEST_CASE("a pipe that nobody reads is an error to its writer, and no signal") {
    struct sigaction before{};
    struct sigaction deadly{};
    deadly.sa_handler = SIG_DFL;
    REQUIRE(::sigaction(SIGPIPE, &deadly, &before) == 0);
    run_at_each_worker_count([] {
      auto pipe = smarm::make_pipe().value();
      pipe.reader.close();
      auto gone = pipe.writer.write(bytes("x"), kPatience);
      REQUIRE_FALSE(gone.has_value());
      CHECK(gone.error().code == std::errc::broken_pipe);
      // A bare descriptor too.
      FdPair bare(FdPair::pipe);
      REQUIRE(::sigaction(SIGPIPE, nullptr, nullptr) == 0);
      std::signal(SIGPIPE, SIG_DFL);  // FdPair ignores it
      bare.close_reader();
      auto raw = smarm::write(bare.writer(), bytes("x"), kPatience);
      REQUIRE_FALSE(raw.has_value());
      CHECK(raw.error() == std::errc::broken_pipe);
    });
    REQUIRE(::sigaction(SIGPIPE, &before, nullptr) == 0);
  }

  TEST_CASE("only the right end of a pipe is adopted, and what is refused stays the caller's") {
    run_at(1, [] {
      FdPair pair(FdPair::pipe);
      auto wrong = smarm::PipeReader::adopt(pair.writer());
      REQUIRE_FALSE(wrong.has_value());
      CHECK(wrong.error().what().find("not open for reading") != std::string::npos);
      CHECK_FALSE(smarm::PipeWriter::adopt(pair.reader()).has_value());
      CHECK_FALSE(smarm::PipeReader::adopt(-1).has_value());
      CHECK(write_all(pair.writer(), "still open"));
      CHECK(read_n(pair.reader(), 10) == "still open");
    });
  }

  TEST_CASE("an actor that is to unwind closes each descriptor once") {
    run_at_each_worker_count([] {
      const std::size_t fds = open_fds();
      for (int i = 0; i < 20; ++i) {
        auto actor = smarm::spawn([] {
          smarm::kill(smarm::self_pid());
          auto pipe = smarm::make_pipe();
          auto adopted = smarm::UnixStream::adopt(::socket(AF_UNIX, SOCK_STREAM, 0));
          smarm::check();
          FAIL("it went on");
        });
        CHECK_FALSE(actor.join());
        // A descriptor that is closed twice would be one of these.
        FdPair other(FdPair::pipe);
        CHECK(write_all(other.writer(), "x"));
        CHECK(read_n(other.reader(), 1) == "x");
      }
      CHECK(open_fds() == fds);
    });
  }

  TEST_CASE("a reader of a pipe waits, is woken by bytes, by its time, and by close") {
    run_at_each_worker_count([] {
      auto pipe = smarm::make_pipe().value();
      std::array<char, 8> buffer;
      auto late = pipe.reader.read(buffer, 1ms);
      REQUIRE_FALSE(late.has_value());
      CHECK(late.error().code == std::errc::timed_out);
      std::atomic<bool> got{false};
      auto writer = smarm::spawn([&, reader = smarm::self_pid()] {
        yield_until_parked(reader);
        CHECK(pipe.writer.write(bytes("now"), kPatience).value() == 3);
        CHECK(yield_until([&] { return got && parked(reader); }));
        pipe.reader.close();
      });
      CHECK(pipe.reader.read(buffer, kPatience).value() == 3);
      got = true;
      auto closed = pipe.reader.read(buffer, kPatience);
      REQUIRE_FALSE(closed.has_value());
      CHECK(closed.error().code == std::errc::bad_file_descriptor);
      CHECK(writer.join());
    });
  }

  TEST_CASE("vectors: many buffers in one call, in order, with empty ones between") {
    run_at_each_worker_count([] {
      const auto check = [](auto ends) {
        auto& [a, b] = ends;
        const std::string head = "head ", body = pattern(5000), tail = " tail";
        const std::span<const char> parts[] = {bytes(head), {}, bytes(body), bytes(tail)};
        auto writer = smarm::spawn([&a, &parts] {
          CHECK(a.write_all_vectored(parts, kPatience).has_value());
          a.close();
        });
        std::string first(3, '\0'), second(4000, '\0');
        const std::span<char> into[] = {first, {}, second};
        const std::size_t n = b.read_vectored(into, kPatience).value();
        std::string got = (first + second).substr(0, n);
        got += read_to_end(b);
        CHECK(got == head + body + tail);
        CHECK(writer.join());
      };
      check(tcp_pair());
      check(unix_pair());
    });
  }

  TEST_CASE("vectors: more buffers than the kernel takes at once, and more bytes than it holds") {
    run_at_each_worker_count([] {
      auto [a, b] = tcp_pair();
      const std::string all = pattern(3000 * 1000);
      std::vector<std::span<const char>> parts;
      for (std::size_t i = 0; i < all.size(); i += 1000) parts.emplace_back(all.data() + i, 1000);
      auto writer = smarm::spawn([&a = a, &parts] {
        CHECK(a.write_all_vectored(parts, kPatience).has_value());
        a.close();
      });
      CHECK(read_to_end(b) == all);
      CHECK(writer.join());
    });
  }

  TEST_CASE("vectors of nothing: 0 at once") {
    run_at(1, [] {
      auto [a, b] = tcp_pair();
      CHECK(a.write_vectored({}, kPatience).value() == 0);
      CHECK(a.read_vectored({}, kPatience).value() == 0);
      CHECK(a.write_all_vectored({}, kPatience).has_value());
    });
  }

  TEST_CASE("a stream that is closed for writing still reads") {
    run_at_each_worker_count([] {
      const auto check = [](auto ends) {
        auto& [a, b] = ends;
        CHECK(a.write_all(bytes("question"), kPatience).has_value());
        CHECK(a.shutdown_write().has_value());
        CHECK(read_to_end(b) == "question");
        CHECK(b.write_all(bytes("answer"), kPatience).has_value());
        b.close();
        CHECK(read_to_end(a) == "answer");
        CHECK_FALSE(a.write(bytes("more"), kPatience).has_value());
      };
      check(tcp_pair());
      check(unix_pair());
    });
  }

  TEST_CASE("a TCP stream knows its ends, and asks after a silent peer when told to") {
    run_at(1, [] {
      auto listener = smarm::TcpListener::bind("127.0.0.1:0").value();
      auto client =
          smarm::TcpStream::connect(smarm::Endpoint::parse(listener.address()).value(), kPatience)
              .value();
      auto server = listener.accept(kPatience).value();
      CHECK(client.peer().text() == listener.address());
      CHECK(client.local() == server.peer());
      CHECK(client.keep_alive(60s).has_value());
      int on = 0;
      socklen_t size = sizeof on;
      REQUIRE(::getsockopt(client.fd(), SOL_SOCKET, SO_KEEPALIVE, &on, &size) == 0);
      CHECK(on == 1);
      client.close();
      CHECK_FALSE(client.keep_alive(60s).has_value());
    });
  }

  TEST_CASE("calls on a stream that was never opened are errors") {
    run_at(1, [] {
      smarm::TcpStream none;
      std::array<char, 4> buffer;
      CHECK(none.read(buffer).error().code == std::errc::bad_file_descriptor);
      CHECK(none.write(bytes("x")).error().what().find("closed stream") != std::string::npos);
      CHECK(none.write_all_vectored(std::array{bytes("x")}).error().code ==
            std::errc::bad_file_descriptor);
    });
  }
}
