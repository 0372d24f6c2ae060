// Where IO goes wrong: no descriptors left, peers that are gone, crowds whose time runs out.
#include "tests/unit/public/io_support.hpp"

#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/resource.h>

#include <array>
#include <cstdio>
#include <system_error>

using namespace test;

namespace {

// No descriptor can be made while it lives. UndefinedBehaviorSanitizer makes some when it looks at
// an object's type, as at an error's category: that is for afterwards.
class NoDescriptors {
 public:
  NoDescriptors() {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    rlimit none = before_;
    none.rlim_cur = 0;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
};

// A client that the runtime knows nothing of.
class Client {
 public:
  explicit Client(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0);
  }
  ~Client() { close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  void reset() {
    const linger at_once{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close();
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  void send(std::string_view text) const {
    REQUIRE(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
  }

 private:
  int fd_;
};

}  // namespace

TEST_SUITE("public io edges") {
  TEST_CASE("an accept without descriptors says so, waits before it tries again, and goes on" *
            doctest::skip(kValgrind) *
            doctest::description("Valgrind takes the connection out of the queue and closes it")) {
    run_at_each_worker_count([] {
      auto listener = smarm::TcpListener::bind("127.0.0.1:0").value();
      Client client(listener.port());
      const auto [none, in_the_pause, behind_it] = [&] {
        const NoDescriptors shortage;
        return std::array{listener.accept(kPatience), listener.accept(1ms),  // which is longer
                          listener.accept(kPatience)};
      }();
      REQUIRE_FALSE(none.has_value());
      CHECK(none.error().code == std::errc::too_many_files_open);
      CHECK(none.error().what().find("accept 127.0.0.1:") != std::string::npos);
      CHECK(in_the_pause.error().code == std::errc::timed_out);
      CHECK(behind_it.error().code == std::errc::too_many_files_open);
      auto stream = listener.accept(kPatience);
      REQUIRE(stream.has_value());
      client.send("served");
      std::string text(6, '\0');
      CHECK(stream->read_exact(text, kPatience).has_value());
      CHECK(text == "served");
    });
  }

  TEST_CASE("an accept that never waits recovers from a shortage too; a close in a pause is told" *
            doctest::skip(kValgrind) *
            doctest::description("Valgrind takes the connection out of the queue and closes it")) {
    run_at_each_worker_count([] {
      auto listener = smarm::TcpListener::bind("127.0.0.1:0").value();
      Client client(listener.port());
      const auto accept_without_descriptors = [&](smarm::Wait timeout) {
        const NoDescriptors shortage;
        return listener.accept(timeout);
      };
      CHECK(accept_without_descriptors(0ns).error().code == std::errc::too_many_files_open);
      CHECK(yield_until([&] { return listener.accept(0ns).has_value(); }));
      // Seen before the queue, which is empty.
      CHECK(accept_without_descriptors(kPatience).error().code == std::errc::too_many_files_open);
      auto closer = smarm::spawn([&listener, acceptor = smarm::self_pid()] {
        yield_until_parked(acceptor);
        listener.close();
      });
      CHECK(listener.accept(kPatience).error().code == std::errc::bad_file_descriptor);
      CHECK(closer.join());
    });
  }

  TEST_CASE("a client that resets before it is accepted does not disturb the others") {
    run_at_each_worker_count([] {
      auto listener = smarm::TcpListener::bind("127.0.0.1:0").value();
      Client first(listener.port()), second(listener.port());
      first.reset();
      second.send("second");
      // The kernel may hand the dead one out all the same; then its reads tell.
      for (;;) {
        auto stream = listener.accept(kPatience).value();
        std::string text(6, '\0');
        if (!stream.read_exact(text, kPatience)) continue;
        CHECK(text == "second");
        break;
      }
    });
  }

  TEST_CASE("connecting to a port where nobody answers runs out of time") {
    run_at(1, [] {
      // A listener whose queue is full drops what comes.
      auto full = smarm::TcpListener::bind("127.0.0.1", 0, {.backlog = 0}).value();
      std::vector<smarm::TcpStream> queued;
      for (int i = 0; i < 20; ++i) {
        auto stream = smarm::TcpStream::connect("127.0.0.1", full.port(), 20ms);
        if (!stream) {
          CHECK(stream.error().code == std::errc::timed_out);
          CHECK(stream.error().operation == "connect");
          return;
        }
        queued.push_back(std::move(*stream));
      }
      FAIL("twenty connections fitted into a queue of none");
    });
  }

  TEST_CASE(
      "connecting to a Unix listener whose queue is full waits for room, or runs out of time") {
    run_at_each_worker_count([] {
      Directory d;
      const std::string path = d.path + "/socket";
      auto listener = smarm::UnixListener::bind(path, {.backlog = 0}).value();
      std::vector<smarm::UnixStream> queued;
      bool full = false;
      while (!full && queued.size() < 20) {
        auto stream = smarm::UnixStream::connect(path, 20ms);
        full = !stream;
        if (full) {
          CHECK(stream.error().code == std::errc::timed_out);
          CHECK(stream.error().address == path);
        } else {
          queued.push_back(std::move(*stream));
        }
      }
      REQUIRE(full);
      auto late =
          smarm::spawn([&path] { CHECK(smarm::UnixStream::connect(path, kPatience).has_value()); });
      CHECK(yield_until_parked(late.pid()));
      CHECK(listener.accept(kPatience).has_value());
      CHECK(late.join());
      auto hopeless = smarm::spawn([&path] { (void)smarm::UnixStream::connect(path); });
      CHECK(yield_until_parked(hopeless.pid()));
      CHECK(smarm::kill(hopeless.pid()));
      CHECK(hopeless.join().error().killed());
    });
  }

  // The kernel calls it readable, and has nothing to read.
  TEST_CASE("a receive that can give nothing any more runs out of time") {
    run_at_each_worker_count([] {
      auto peer = smarm::UdpSocket::bind("127.0.0.1", 0).value();
      auto udp = smarm::UdpSocket::connect(peer.local()).value();
      REQUIRE(::shutdown(udp.fd(), SHUT_RD) == 0);
      char byte = 0;
      const std::uint64_t resumes = smarm::stats().total.resumes;
      CHECK(udp.receive({&byte, 1}, 30ms).error().code == std::errc::timed_out);
      const int number = ::dup(udp.fd());
      CHECK(smarm::read(number, {&byte, 1}, 30ms).error() == std::errc::timed_out);
      ::close(number);
      CHECK(smarm::stats().total.resumes - resumes < 60);
    });
  }

  // Of the sockets that can be had on any machine netlink's are those that say ENOBUFS: what was
  // sent to all found no room.
  TEST_CASE("a read that is told of lost messages says so, and the next one goes on") {
    const int receiver = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK);
    const int sender = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK);
    REQUIRE(receiver >= 0);
    REQUIRE(sender >= 0);
    const int least = 1;
    ::setsockopt(receiver, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
    sockaddr_nl all{};
    all.nl_family = AF_NETLINK;
    all.nl_groups = 1;
    if (::bind(receiver, reinterpret_cast<const sockaddr*>(&all), sizeof all) != 0) {
      std::puts("SKIP: a read that is told of lost messages: joining a netlink group takes root");
    } else {
      run_at_each_worker_count([&] {
        const auto send = [&](char text) {
          (void)::sendto(sender, &text, 1, 0, reinterpret_cast<const sockaddr*>(&all), sizeof all);
        };
        char text = 0;
        auto reader = smarm::spawn([&] {
          char first = 0;
          CHECK(smarm::read(receiver, {&first, 1}, kPatience) == 1u);
          CHECK(first == 'a');
        });
        CHECK(yield_until_parked(reader.pid()));
        send('a');
        CHECK(reader.join());
        for (int i = 0; i < 100; ++i) send('b');
        CHECK(smarm::read(receiver, {&text, 1}, kPatience).error() == std::errc::no_buffer_space);
        while (smarm::read(receiver, {&text, 1}, 0ns)) CHECK(text == 'b');
        send('c');
        CHECK(smarm::read(receiver, {&text, 1}, kPatience) == 1u);
        CHECK(text == 'c');
      });
    }
    ::close(receiver);
    ::close(sender);
  }

  TEST_CASE("a crowd whose time runs out at once: each is told, and nothing stays behind") {
    const std::size_t crowd = kSlow || kAsan ? 4'000 : 100'000;
    for_each_worker_count([crowd](unsigned workers) {
      run_at(workers, [crowd] {
        FdPair pipe(FdPair::pipe);
        auto udp = smarm::UdpSocket::bind("127.0.0.1", 0).value();
        std::atomic<std::size_t> timed_out{0};
        std::vector<smarm::JoinHandle> actors;
        actors.reserve(crowd);
        const auto deadline = SteadyClock::now() + 300ms;
        for (std::size_t i = 0; i < crowd; ++i) {
          actors.push_back(smarm::spawn([&, raw = i % 2 == 0] {
            const smarm::Duration left =
                std::max<smarm::Duration>(deadline - SteadyClock::now(), 1ms);
            char byte = 0;
            const auto error = raw ? smarm::wait_readable(pipe.reader(), left).error()
                                   : udp.receive({&byte, 1}, left).error().code;
            if (error == std::errc::timed_out) timed_out.fetch_add(1);
          }));
        }
        for (auto& actor : actors) REQUIRE(actor.join());
        CHECK(timed_out == crowd);
        // Both still work.
        CHECK(write_all(pipe.writer(), "x"));
        CHECK(smarm::wait_readable(pipe.reader(), kPatience).has_value());
        auto other = smarm::UdpSocket::connect(udp.local()).value();
        CHECK(other.send(bytes("x"), kPatience).has_value());
        char byte = 0;
        CHECK(udp.receive({&byte, 1}, kPatience).has_value());
      });
    });
  }

  TEST_CASE("many waiters on one descriptor and one socket are all woken by one event") {
    run_at_each_worker_count([] {
      FdPair pipe(FdPair::pipe);
      auto listener = smarm::TcpListener::bind("127.0.0.1:0").value();
      std::atomic<int> woken{0};
      std::vector<smarm::JoinHandle> actors;
      for (int i = 0; i < 50; ++i) {
        actors.push_back(smarm::spawn([&] {
          if (smarm::wait_readable(pipe.reader(), kPatience)) woken.fetch_add(1);
        }));
        actors.push_back(smarm::spawn([&] {
          if (listener.accept(kPatience).error().code == std::errc::bad_file_descriptor)
            woken.fetch_add(1);
        }));
      }
      for (auto& actor : actors) REQUIRE(yield_until_parked(actor.pid()));
      CHECK(write_all(pipe.writer(), "x"));
      listener.close();
      for (auto& actor : actors) CHECK(actor.join());
      CHECK(woken == 100);
    });
  }
}
