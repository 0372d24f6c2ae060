#include "daemon/metrics/server.hpp"

#include <doctest/doctest.h>

#include <netinet/in.h>

#include <atomic>
#include <fstream>
#include <vector>

#include "tests/unit/daemon/control/support.hpp"

using namespace smarmd;
using namespace std::chrono_literals;
using plugin::UniqueFd;
using test::RawClient;

namespace {

constexpr const char* kGet = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

std::optional<RawClient> connect(std::uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return std::nullopt;
  return RawClient(std::move(fd));
}

struct Fixture {
  explicit Fixture(std::function<void(MetricsServerOptions&)> adjust = {}) {
    MetricsServerOptions options;
    options.listen = "127.0.0.1:0";
    if (adjust) adjust(options);
    auto started = MetricsServer::start(options, [this] { return content(); }, nullptr);
    REQUIRE(started.has_value());
    server = std::move(*started);
  }

  std::string exchange(const std::string& bytes) {
    auto client = connect(server->port());
    REQUIRE(client.has_value());
    client->send(bytes);
    const auto rest = client->rest();
    REQUIRE(rest.has_value());
    return *rest;
  }

  std::function<std::string()> content = [] { return std::string("smarm_up 1\n"); };
  std::unique_ptr<MetricsServer> server;
};

std::string status_of(const std::string& answer) { return answer.substr(0, answer.find("\r\n")); }

}  // namespace

TEST_CASE("metrics server: the page comes with its type and length, and the connection closes") {
  Fixture fixture;
  const std::string answer = fixture.exchange(kGet);
  CHECK(answer ==
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; "
        "charset=utf-8\r\nContent-Length: 11\r\nConnection: close\r\n\r\nsmarm_up 1\n");
}

TEST_CASE("metrics server: a large page arrives whole") {
  Fixture fixture;
  fixture.content = [] { return std::string(8 << 20, 'm'); };
  const std::string answer = fixture.exchange(kGet);
  CHECK(answer.size() - answer.find("\r\n\r\n") - 4 == 8 << 20);
}

TEST_CASE("metrics server: anything else gets its own refusal") {
  Fixture fixture;
  CHECK(status_of(fixture.exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n")) ==
        "HTTP/1.1 404 Not Found");
  CHECK(status_of(fixture.exchange("GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n")) ==
        "HTTP/1.1 404 Not Found");
  const std::string post = fixture.exchange("POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(status_of(post) == "HTTP/1.1 405 Method Not Allowed");
  CHECK(post.find("Allow: GET\r\n") != std::string::npos);
  CHECK(status_of(fixture.exchange("garbage\r\n\r\n")) == "HTTP/1.1 400 Bad Request");
  CHECK(status_of(fixture.exchange("\x16\x03\x01\x02\r\n")) == "HTTP/1.1 400 Bad Request");
  CHECK(status_of(fixture.exchange("GET /metrics HTTP/1.1\r\nHost: x\r\nX: " +
                                   std::string(100'000, 'x'))) ==
        "HTTP/1.1 431 Request Header Fields Too Large");
}

TEST_CASE("metrics server: content that throws is an error of this scrape only") {
  Fixture fixture;
  std::atomic<bool> broken{true};
  fixture.content = [&]() -> std::string {
    if (broken) throw std::runtime_error("on purpose");
    return "fine\n";
  };
  const std::string answer = fixture.exchange(kGet);
  CHECK(status_of(answer) == "HTTP/1.1 500 Internal Server Error");
  CHECK(answer.find("on purpose") != std::string::npos);
  broken = false;
  CHECK(status_of(fixture.exchange(kGet)) == "HTTP/1.1 200 OK");
}

TEST_CASE("metrics server: slow and silent clients are closed in time and hold up nobody") {
  Fixture fixture([](MetricsServerOptions& options) { options.request_timeout = 2s; });
  auto silent = connect(fixture.server->port());
  auto slow = connect(fixture.server->port());
  REQUIRE(silent.has_value());
  REQUIRE(slow.has_value());
  REQUIRE(slow->send("GET /met"));
  CHECK(status_of(fixture.exchange(kGet)) == "HTTP/1.1 200 OK");
  CHECK(silent->rest() == "");
  CHECK(slow->rest() == "");
}

TEST_CASE("metrics server: silent connections cannot shut a scrape out") {
  Fixture fixture([](MetricsServerOptions& options) {
    options.max_connections = 2;
    options.request_timeout = 1h;
  });
  auto first = connect(fixture.server->port());
  auto second = connect(fixture.server->port());
  REQUIRE(first.has_value());
  REQUIRE(second.has_value());
  CHECK(status_of(fixture.exchange(kGet)) == "HTTP/1.1 200 OK");
  CHECK(first->rest() == "");  // it made way
}

TEST_CASE("metrics server: many scrapes at once are all answered") {
  Fixture fixture;
  std::atomic<int> good{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 16; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 25; ++i) {
          auto client = connect(fixture.server->port());
          if (!client || !client->send(kGet)) continue;
          if (const auto rest = client->rest(); rest && rest->ends_with("smarm_up 1\n")) ++good;
        }
      });
    }
  }
  CHECK(good == 16 * 25);
}

TEST_CASE("metrics server: addresses that cannot be are one clear error") {
  Fixture fixture;
  const auto start = [](const std::string& listen) {
    const auto started =
        MetricsServer::start({.listen = listen}, [] { return std::string(); }, nullptr);
    REQUIRE_FALSE(started.has_value());
    return started.error();
  };
  const std::string used = "127.0.0.1:" + std::to_string(fixture.server->port());
  CHECK(start(used).find(used) != std::string::npos);
  CHECK(start(used).find("in use") != std::string::npos);
  CHECK(start("nonsense").find("127.0.0.1:9464") != std::string::npos);
  std::ifstream nonlocal("/proc/sys/net/ipv4/ip_nonlocal_bind");
  if (nonlocal.get() != '1')
    CHECK(start("192.0.2.1:9464").find("does not have that address") != std::string::npos);
}

TEST_CASE("metrics server: it listens on IPv6 too") {
  const auto started =
      MetricsServer::start({.listen = "[::1]:0"}, [] { return std::string(); }, nullptr);
  if (!started) {
    MESSAGE(started.error());
    CHECK(started.error().find("[::1]:0") != std::string::npos);  // a machine without IPv6
    return;
  }
  CHECK((*started)->port() != 0);
}
