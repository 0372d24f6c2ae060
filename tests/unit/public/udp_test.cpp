// Datagrams, and the endpoints that they come from and go to.
#include "tests/unit/public/io_support.hpp"

#include <netinet/in.h>

#include <system_error>

using namespace test;

TEST_SUITE("public udp") {
  TEST_CASE("endpoints: text in, the same text out; what is none says so") {
    run_at(1, [] {
      for (const char* text : {"127.0.0.1:80", "[::1]:7777", "10.1.2.3:0", "0.0.0.0:65535"}) {
        const auto e = smarm::Endpoint::parse(text);
        REQUIRE(e.has_value());
        CHECK(e->text() == text);
      }
      CHECK(smarm::Endpoint::parse("127.0.0.1:80")->host() == "127.0.0.1");
      CHECK(smarm::Endpoint::parse("[::1]:80")->port() == 80);
      for (const char* bad : {"", "127.0.0.1", "localhost:80", "127.0.0.1:", "::1:80",
                              "1.2.3.4:70000", "1.2.3.4:x"}) {
        const auto e = smarm::Endpoint::parse(bad);
        REQUIRE_FALSE(e.has_value());
        CHECK(e.error().code == std::errc::invalid_argument);
        CHECK(e.error().address == bad);
      }
      CHECK(smarm::Endpoint().text().empty());
      CHECK(smarm::Endpoint::parse("1.2.3.4:5") != smarm::Endpoint::parse("1.2.3.4:6"));
    });
  }

  TEST_CASE("resolve: numbers are their own addresses, names have some, others are errors") {
    run_at(1, [] {
      const auto numeric = smarm::resolve("127.0.0.1", 80).value();
      REQUIRE(numeric.size() == 1);
      CHECK(numeric[0].text() == "127.0.0.1:80");
      const auto name = smarm::resolve("localhost", 80).value();
      CHECK_FALSE(name.empty());
      const auto none = smarm::resolve("no-such-host.invalid", 80);
      REQUIRE_FALSE(none.has_value());
      CHECK(none.error().operation == "resolve");
      CHECK(none.error().address == "no-such-host.invalid");
    });
  }

  TEST_CASE("datagrams go to and fro, whole, with the address of who sent them") {
    run_at_each_worker_count([] {
      auto server = smarm::UdpSocket::bind("127.0.0.1", 0).value();
      auto answering = smarm::spawn([&server] {
        std::array<char, 2000> buffer;
        for (int i = 0; i < 100; ++i) {
          const auto d = server.receive(buffer, kPatience).value();
          CHECK_FALSE(d.truncated);
          CHECK(server.send(std::span(buffer.data(), d.size), d.from, kPatience).has_value());
        }
      });
      auto client = smarm::UdpSocket::connect(server.local()).value();
      std::array<char, 2000> buffer;
      for (int i = 0; i < 100; ++i) {
        const std::string text = pattern(static_cast<std::size_t>(i) * 10);
        CHECK(client.send(bytes(text), kPatience).has_value());
        const auto d = client.receive(buffer, kPatience).value();
        CHECK(std::string(buffer.data(), d.size) == text);
        CHECK(d.from == server.local());
      }
      CHECK(answering.join());
    });
  }

  TEST_CASE(
      "a datagram that is too large for the buffer says so; one too large to send is refused") {
    run_at(1, [] {
      auto a = smarm::UdpSocket::bind("127.0.0.1", 0).value();
      auto b = smarm::UdpSocket::bind(smarm::Endpoint::parse("127.0.0.1:0").value()).value();
      CHECK(a.send(bytes("0123456789"), b.local(), kPatience).has_value());
      std::array<char, 4> buffer;
      const auto d = b.receive(buffer, kPatience).value();
      CHECK(d.size == 4);
      CHECK(d.truncated);
      const std::string huge(70'000, 'x');
      auto refused = a.send(bytes(huge), b.local(), kPatience);
      REQUIRE_FALSE(refused.has_value());
      CHECK(refused.error().code == std::errc::message_size);
      CHECK(refused.error().address == b.local().text());
    });
  }

  TEST_CASE("a receive waits, runs out of time, and is woken by close") {
    run_at_each_worker_count([] {
      auto socket = smarm::UdpSocket::bind("127.0.0.1", 0).value();
      std::array<char, 16> buffer;
      CHECK(socket.receive(buffer, 1ms).error().code == std::errc::timed_out);
      auto closer = smarm::spawn([&socket, reader = smarm::self_pid()] {
        yield_until_parked(reader);
        socket.close();
      });
      CHECK(socket.receive(buffer, kPatience).error().code == std::errc::bad_file_descriptor);
      CHECK(closer.join());
    });
  }

  TEST_CASE("a connected one hears that nobody is there") {
    run_at(1, [] {
      auto gone = smarm::UdpSocket::bind("127.0.0.1", 0).value();
      auto client = smarm::UdpSocket::connect(gone.local()).value();
      gone.close();
      CHECK(client.send(bytes("anybody?"), kPatience).has_value());
      std::array<char, 16> buffer;
      CHECK(client.receive(buffer, kPatience).error().code == std::errc::connection_refused);
    });
  }

  TEST_CASE("two sockets share a port when both ask for it") {
    run_at(1, [] {
      auto one = smarm::UdpSocket::bind("127.0.0.1", 0, true).value();
      CHECK(smarm::UdpSocket::bind("127.0.0.1", one.port(), true).has_value());
      CHECK(smarm::UdpSocket::bind("127.0.0.1", one.port()).error().code ==
            std::errc::address_in_use);
      auto listener = smarm::TcpListener::bind("127.0.0.1", 0, {.reuse_port = true}).value();
      CHECK(
          smarm::TcpListener::bind("127.0.0.1", listener.port(), {.reuse_port = true}).has_value());
      CHECK_FALSE(smarm::TcpListener::bind("127.0.0.1", listener.port()).has_value());
    });
  }
}
