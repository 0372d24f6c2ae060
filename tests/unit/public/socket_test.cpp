// TcpListener, TcpStream, UnixListener, UnixStream over loopback.
#include "tests/unit/public/io_support.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/un.h>

#include <system_error>

using namespace test;

namespace {

struct TcpWorld {
  smarm::TcpListener listener = smarm::TcpListener::bind("127.0.0.1", 0).value();
  auto connect() const {
    return smarm::TcpStream::connect("127.0.0.1", listener.port(), kPatience);
  }
};

struct UnixWorld {
  Directory directory{};
  std::string path = directory.path + "/socket";
  smarm::UnixListener listener = smarm::UnixListener::bind(path).value();
  auto connect() const { return smarm::UnixStream::connect(path, kPatience); }
};

template <class Stream>
void echo(Stream stream) {
  std::array<char, 4096> buffer;
  for (;;) {
    auto n = stream.read(buffer, kPatience);
    if (!n || *n == 0) return;
    if (!stream.write_all(std::span(buffer.data(), *n), kPatience)) return;
  }
}

// An actor that accepts `count` connections, each served by an actor of its own.
template <class World>
smarm::JoinHandle serve(World& world, int count) {
  return smarm::spawn([&world, count] {
    std::vector<smarm::JoinHandle> connections;
    for (int i = 0; i < count; ++i) {
      auto stream = world.listener.accept(kPatience);
      REQUIRE(stream.has_value());
      connections.push_back(
          smarm::spawn([stream = std::move(*stream)]() mutable { echo(std::move(stream)); }));
    }
    for (auto& end : smarm::join_all(connections)) CHECK(end);
  });
}

// A connected pair of streams.
std::pair<smarm::TcpStream, smarm::TcpStream> tcp_pair() {
  TcpWorld world;
  auto [tx, rx] = smarm::channel<smarm::TcpStream>();
  auto acceptor = smarm::spawn(
      [&world, tx = std::move(tx)] { (void)tx.send(world.listener.accept(kPatience).value()); });
  auto client = world.connect().value();
  auto server = std::move(rx.recv().value());
  CHECK(acceptor.join());
  return {std::move(client), std::move(server)};
}

template <class World>
void check_echo() {
  run_at_each_worker_count([] {
    World world;
    constexpr int kClients = 20;
    auto server = serve(world, kClients);
    std::vector<smarm::JoinHandle> clients;
    for (int c = 0; c < kClients; ++c)
      clients.push_back(smarm::spawn([&world, c] {
        auto stream = world.connect();
        REQUIRE(stream.has_value());
        for (int i = 0; i < 20; ++i) {
          const std::string text = "client " + std::to_string(c) + " line " + std::to_string(i);
          REQUIRE(stream->write_all(bytes(text), kPatience).has_value());
          std::string back(text.size(), '\0');
          REQUIRE(stream->read_exact(back, kPatience).has_value());
          CHECK(back == text);
        }
      }));
    for (auto& end : smarm::join_all(clients)) CHECK(end);
    CHECK(server.join());
  });
}

}  // namespace

TEST_SUITE("public sockets") {
  TEST_CASE("twenty TCP clients at once get their bytes back") {
    const std::size_t fds = open_fds();
    check_echo<TcpWorld>();
    CHECK(open_fds() == fds);
  }

  TEST_CASE("twenty Unix clients at once get their bytes back") {
    const std::size_t fds = open_fds();
    check_echo<UnixWorld>();
    CHECK(open_fds() == fds);
  }

  TEST_CASE("a listener knows its address") {
    run_at_each_worker_count([] {
      auto listener = smarm::TcpListener::bind("127.0.0.1:0");
      REQUIRE(listener.has_value());
      CHECK(listener->port() != 0);
      CHECK(listener->address() == "127.0.0.1:" + std::to_string(listener->port()));
      CHECK(listener->fd() >= 0);
    });
  }

  TEST_CASE(
      "a port in use, a refused connection and a bad address are errors that name the address") {
    run_at_each_worker_count([] {
      auto listener = smarm::TcpListener::bind("127.0.0.1", 0).value();
      const std::uint16_t port = listener.port();
      auto second = smarm::TcpListener::bind("127.0.0.1", port);
      REQUIRE_FALSE(second.has_value());
      CHECK(second.error().code == std::errc::address_in_use);
      CHECK(second.error().what().find("127.0.0.1:" + std::to_string(port)) != std::string::npos);
      listener.close();
      auto refused = smarm::TcpStream::connect("127.0.0.1", port, kPatience);
      REQUIRE_FALSE(refused.has_value());
      CHECK(refused.error().code == std::errc::connection_refused);
      CHECK(refused.error().operation == "connect");
      CHECK(refused.error().what().find(std::to_string(port)) != std::string::npos);
      for (const char* bad :
           {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:http", "[::1:80"}) {
        CHECK_FALSE(smarm::TcpListener::bind(bad).has_value());
      }
    });
  }

  TEST_CASE("a name is resolved, and one that does not exist is an error") {
    run_at_each_worker_count([] {
      TcpWorld world;
      auto server = serve(world, 1);
      {
        auto stream = smarm::TcpStream::connect("localhost", world.listener.port(), kPatience);
        REQUIRE(stream.has_value());
        CHECK(stream->write_all(bytes("x"), kPatience).has_value());
        char c = 0;
        CHECK(stream->read_exact({&c, 1}, kPatience).has_value());
        CHECK(c == 'x');
      }
      CHECK(server.join());
      CHECK_FALSE(smarm::TcpStream::connect("no..such..host", 1, kPatience).has_value());
    });
  }

  TEST_CASE("a listener is usable again at once after its connections are gone") {
    run_at_each_worker_count([] {
      std::uint16_t port = 0;
      {
        TcpWorld world;
        port = world.listener.port();
        auto server = serve(world, 1);
        {
          auto stream = world.connect().value();
          CHECK(stream.write_all(bytes("x")).has_value());
        }
        CHECK(server.join());
      }
      CHECK(smarm::TcpListener::bind("127.0.0.1", port).has_value());
    });
  }

  TEST_CASE("eight megabytes through one stream, both directions at once") {
    run_at_each_worker_count([] {
      TcpWorld world;
      auto server = serve(world, 1);
      {
        auto stream = std::make_shared<smarm::TcpStream>(world.connect().value());
        const std::string data = pattern(kSlow ? 1 << 20 : 8 << 20);
        auto writer = smarm::spawn(
            [stream, &data] { CHECK(stream->write_all(bytes(data), kPatience).has_value()); });
        std::string back(data.size(), '\0');
        CHECK(stream->read_exact(back, kPatience).has_value());
        CHECK(back == data);
        CHECK(writer.join());
      }
      CHECK(server.join());
    });
  }

  TEST_CASE(
      "a peer that has sent its last byte and reads late gets everything; nobody spins meanwhile") {
    run_at_each_worker_count([] {
      auto [client, server] = tcp_pair();
      const std::string data = pattern(8 << 20);
      CHECK(::shutdown(client.fd(), SHUT_WR) == 0);
      const auto full = [fd = server.fd()] {  // the buffers of the kernel
        pollfd p{fd, POLLOUT, 0};
        return ::poll(&p, 1, 0) == 0;
      };
      auto writer = smarm::spawn([&data, server = std::move(server)]() mutable {
        char c;
        CHECK(server.read({&c, 1}, kPatience).value() == 0);
        CHECK(server.write_all(bytes(data), kPatience).has_value());
      });
      CHECK(yield_until([&] { return full() && parked(writer.pid()); }));
      const std::uint64_t resumes = smarm::stats().total.resumes;
      smarm::sleep(20ms);
      CHECK(smarm::stats().total.resumes - resumes < 30);
      std::string back(data.size(), '\0');
      CHECK(client.read_exact(back, kPatience).has_value());
      CHECK(back == data);
      CHECK(writer.join());
    });
  }

  TEST_CASE("accept and read run out of time, and the socket stays usable") {
    run_at_each_worker_count([] {
      TcpWorld world;
      const auto start = SteadyClock::now();
      auto nobody = world.listener.accept(20ms);
      REQUIRE_FALSE(nobody.has_value());
      CHECK(nobody.error().code == std::errc::timed_out);
      CHECK(SteadyClock::now() - start >= 20ms);
      CHECK(world.listener.accept(0ms).error().code == std::errc::timed_out);

      auto [client, server] = tcp_pair();
      char c;
      CHECK(client.read({&c, 1}, 20ms).error().code == std::errc::timed_out);
      CHECK(server.write_all(bytes("y"), kPatience).has_value());
      CHECK(client.read({&c, 1}, kPatience).value() == 1);
      CHECK(c == 'y');
    });
  }

  TEST_CASE("a write that nobody reads runs out of time") {
    run_at_each_worker_count([] {
      auto [client, server] = tcp_pair();
      const std::string junk(1 << 20, 'j');
      auto result = client.write_all(bytes(junk), 30ms);
      for (int i = 0; i < 64 && result; ++i) result = client.write_all(bytes(junk), 30ms);
      REQUIRE_FALSE(result.has_value());
      CHECK(result.error().code == std::errc::timed_out);
    });
  }

  TEST_CASE("the end of the peer: read answers 0, read_exact an error, write an error in the end") {
    run_at_each_worker_count([] {
      auto [client, server] = tcp_pair();
      CHECK(server.write_all(bytes("abc"), kPatience).has_value());
      server.close();
      std::string five(5, '\0');
      auto early = client.read_exact(five, kPatience);
      REQUIRE_FALSE(early.has_value());
      CHECK(early.error().code == std::errc::no_message_available);
      char c;
      CHECK(client.read({&c, 1}, kPatience).value() == 0);
      bool failed = false;
      for (int i = 0; i < 1000 && !failed; ++i) {
        failed = !client.write_all(bytes("into the void"), kPatience).has_value();
        smarm::sleep(100us);  // the reset of the peer must come in
      }
      CHECK(failed);
    });
  }

  TEST_CASE("close wakes those who wait with bad_file_descriptor") {
    run_at_each_worker_count([] {
      auto [client, server] = tcp_pair();
      auto shared = std::make_shared<smarm::TcpStream>(std::move(client));
      auto reader = smarm::spawn([shared] {
        char c;
        auto n = shared->read({&c, 1});
        REQUIRE_FALSE(n.has_value());
        CHECK(n.error().code == std::errc::bad_file_descriptor);
      });
      CHECK(yield_until_parked(reader.pid()));
      shared->close();
      CHECK(reader.join());

      TcpWorld world;
      auto acceptor = smarm::spawn([&world] {
        auto stream = world.listener.accept();
        REQUIRE_FALSE(stream.has_value());
        CHECK(stream.error().code == std::errc::bad_file_descriptor);
      });
      CHECK(yield_until_parked(acceptor.pid()));
      world.listener.close();
      CHECK(acceptor.join());
    });
  }

  TEST_CASE("a socket that is made and closed over and over under one number") {
    run_at_each_worker_count([] {
      TcpWorld world;
      const int rounds = kSlow ? 20 : 200;
      auto server = serve(world, rounds);
      for (int i = 0; i < rounds; ++i) {
        auto stream = world.connect();
        REQUIRE(stream.has_value());
        const char c = static_cast<char>(i);
        CHECK(stream->write_all({&c, 1}, kPatience).has_value());
        char back = 0;
        CHECK(stream->read_exact({&back, 1}, kPatience).has_value());
        CHECK(back == c);
      }
      CHECK(server.join());
    });
  }

  TEST_CASE("adopt takes a socket over, and answers an error for what is none") {
    run_at_each_worker_count([] {
      FdPair pair(FdPair::socket);
      const int end = ::dup(pair.reader());
      auto stream = smarm::UnixStream::adopt(end);
      REQUIRE(stream.has_value());
      CHECK(smarm::write(pair.writer(), bytes("hi"), kPatience) == 2u);
      std::string two(2, '\0');
      CHECK(stream->read_exact(two, kPatience).has_value());
      CHECK(two == "hi");
      stream->close();
      CHECK(::fcntl(end, F_GETFD) == -1);
      CHECK_FALSE(smarm::TcpStream::adopt(-1).has_value());
      CHECK_FALSE(smarm::TcpListener::adopt(-1).has_value());

      const int raw = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in any{};
      any.sin_family = AF_INET;
      any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      REQUIRE(::bind(raw, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0);
      REQUIRE(::listen(raw, 8) == 0);
      auto listener = smarm::TcpListener::adopt(raw);
      REQUIRE(listener.has_value());
      CHECK(listener->port() != 0);
      auto client = smarm::spawn([port = listener->port()] {
        CHECK(smarm::TcpStream::connect("127.0.0.1", port, kPatience).has_value());
      });
      CHECK(listener->accept(kPatience).has_value());
      CHECK(client.join());
    });
  }

  TEST_CASE("a Unix listener replaces a stale socket file; a path that cannot be is an error") {
    run_at_each_worker_count([] {
      UnixWorld world;
      world.listener.close();
      std::filesystem::remove(world.path);
      const int raw = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      world.path.copy(address.sun_path, sizeof address.sun_path - 1);
      REQUIRE(::bind(raw, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
      REQUIRE(::listen(raw, 1) == 0);
      ::close(raw);  // a crashed server: the file stays
      REQUIRE(std::filesystem::is_socket(world.path));
      world.listener = smarm::UnixListener::bind(world.path).value();
      auto server = serve(world, 1);
      {
        CHECK(world.connect().has_value());
      }
      CHECK(server.join());
      CHECK_FALSE(smarm::UnixListener::bind(std::string(300, 'x')).has_value());
      CHECK_FALSE(
          smarm::UnixStream::connect(world.directory.path + "/absent", kPatience).has_value());
      CHECK_FALSE(smarm::UnixListener::bind("/no/such/directory/socket").has_value());
    });
  }

  TEST_CASE("a socket that is closed on a pool thread wakes its reader and frees its number") {
    run_at_each_worker_count([] {
      FdPair pair(FdPair::socket), pipe(FdPair::pipe);
      const int number = ::dup(pair.reader());
      auto stream = smarm::UnixStream::adopt(number).value();
      auto reader = smarm::spawn([&stream] {
        char c;
        auto n = stream.read({&c, 1}, kPatience);
        REQUIRE_FALSE(n.has_value());
        CHECK(n.error().code == std::errc::bad_file_descriptor);
      });
      CHECK(yield_until_parked(reader.pid()));
      smarm::block_on_io([&stream] { stream.close(); });
      CHECK(reader.join());
      CHECK(::fcntl(number, F_GETFD) == -1);
      REQUIRE(::dup3(pipe.reader(), number, O_CLOEXEC) == number);
      CHECK(smarm::write(pipe.writer(), bytes("p"), kPatience) == 1u);
      CHECK(read_n(number, 1) == "p");
      ::close(number);
    });
  }

  TEST_CASE("a socket that is closed between two runs, or when its runtime has gone, is closed") {
    for_each_worker_count([](unsigned workers) {
      const std::size_t fds = open_fds();
      smarm::UnixStream between, after;
      int number = -1, last = -1;
      {
        smarm::Runtime runtime = smarm::init(config_at(workers));
        FdPair pair(FdPair::socket), pipe(FdPair::pipe);
        runtime.run([&] {
          number = ::dup(pair.reader());
          between = smarm::UnixStream::adopt(number).value();
          last = ::dup(pair.writer());
          after = smarm::UnixStream::adopt(last).value();
        });
        between.close();
        CHECK(::fcntl(number, F_GETFD) == -1);
        // Here, where no other thread is that might have taken the number for a file of its own.
        REQUIRE(::dup3(pipe.reader(), number, O_CLOEXEC) == number);
        runtime.run([number, &pipe] {
          auto reader = smarm::spawn([number] { CHECK(read_n(number, 1) == "p"); });
          CHECK(yield_until_parked(reader.pid()));
          CHECK(smarm::write(pipe.writer(), bytes("p"), kPatience) == 1u);
          CHECK(reader.join());
          ::close(number);
        });
      }
      // Another runtime, perhaps at the same place in memory, is not meant.
      run_at(workers, [&after] { after.close(); });
      CHECK(::fcntl(last, F_GETFD) == -1);
      CHECK(open_fds() == fds);
    });
  }

  TEST_CASE("a socket of another runtime is refused, not used") {
    FdPair pair(FdPair::socket);
    smarm::UnixStream stream;
    smarm::Runtime owner = smarm::init(config_at(1));
    owner.run([&] { stream = smarm::UnixStream::adopt(::dup(pair.reader())).value(); });
    run_at(1, [&stream] {
      char c;
      auto n = stream.read({&c, 1}, kPatience);
      REQUIRE_FALSE(n.has_value());
      CHECK(n.error().code == std::errc::cross_device_link);
    });
  }

  TEST_CASE("two acceptors on one listener get every connection") {
    for (unsigned workers : {1u, 2u, 4u}) {
      CAPTURE(workers);
      run_at(workers, [] {
        TcpWorld world;
        std::atomic<int> accepted = 0;
        std::vector<smarm::JoinHandle> acceptors;
        for (int a = 0; a < 2; ++a)
          acceptors.push_back(smarm::spawn([&world, &accepted] {
            for (;;) {
              auto stream = world.listener.accept();
              if (!stream) return;
              ++accepted;
            }
          }));
        const int rounds = kSlow ? 60 : 300;
        bool all = true;
        for (int round = 0; round < rounds && all; ++round) {
          std::vector<smarm::JoinHandle> clients;
          for (int c = 0; c < 2; ++c)
            clients.push_back(smarm::spawn([&world] { CHECK(world.connect().has_value()); }));
          smarm::join_all(clients);
          all = yield_until([&] { return accepted == 2 * (round + 1); });
        }
        CHECK(all);
        // Inside their calls: the listener object may not be used while it is closed.
        for (auto& acceptor : acceptors) CHECK(yield_until_parked(acceptor.pid()));
        world.listener.close();
        for (auto& end : smarm::join_all(acceptors)) CHECK(end);
      });
    }
  }
}
