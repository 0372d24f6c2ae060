#include "daemon/control/server.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <vector>

#include "daemon/control/backend.hpp"
#include "daemon/control/connect.hpp"
#include "daemon/log/logger.hpp"
#include "tests/unit/daemon/control/support.hpp"

using namespace smarmd;
using namespace std::chrono_literals;
using nlohmann::json;
using plugin::UniqueFd;
using test::RawClient;
using test::TempDir;

namespace {

constexpr const char* kStatus = "{\"v\":1,\"command\":\"status\"}\n";

RawClient connect(const std::string& path) {
  auto fd = connect_socket(path);
  REQUIRE(fd.has_value());
  return RawClient(std::move(*fd));
}

json ask(RawClient& client, const std::string& line) {
  REQUIRE(client.send(line));
  const auto answer = client.line();
  REQUIRE(answer.has_value());
  return json::parse(*answer);
}

// A server whose commands do what the tests need: `later` keeps its reply, `big` answers with a
// megabyte, `drop` forgets, `throw` throws, anything else answers with its name.
struct Fixture {
  explicit Fixture(std::function<void(ControlServerOptions&)> adjust = {}) {
    ControlServerOptions options;
    options.path = dir / "control.sock";
    options.version = "1.2.3";
    if (adjust) adjust(options);
    auto started = ControlServer::start(
        options, [this](const Request& request, Reply reply) { handle(request, std::move(reply)); },
        nullptr);
    REQUIRE(started.has_value());
    server = std::move(*started);
  }

  void handle(const Request& request, Reply reply) {
    ++calls;
    if (request.command == "later") {
      std::lock_guard guard(mutex);
      kept.push_back(std::move(reply));
    } else if (request.command == "big") {
      reply.ok(std::string(1 << 20, 'b'));
    } else if (request.command == "throw") {
      throw std::runtime_error("thrown on purpose");
    } else if (request.command != "drop") {
      reply.ok(
          {{"command", request.command}, {"pid", request.peer.pid}, {"uid", request.peer.uid}});
    }
  }

  std::vector<Reply> take_kept(std::size_t count) {
    std::vector<Reply> out;
    REQUIRE(test::eventually([&] {
      std::lock_guard guard(mutex);
      if (kept.size() < count) return false;
      out = std::move(kept);
      kept.clear();
      return true;
    }));
    return out;
  }

  RawClient client() { return connect(dir / "control.sock"); }

  TempDir dir;
  std::mutex mutex;
  std::vector<Reply> kept;
  std::atomic<int> calls{0};
  std::unique_ptr<ControlServer> server;
};

// With short timeouts on a busy machine one connection may be closed before it was heard.
bool answers_somebody(Fixture& fixture) {
  return test::eventually([&] {
    auto client = fixture.client();
    client.send(kStatus);
    const auto line = client.line();
    return line && json::parse(*line)["ok"] == true;
  });
}

}  // namespace

TEST_CASE("control server: a request is answered, with the daemon's version, and knows who asks") {
  Fixture fixture;
  auto client = fixture.client();
  const json answer = ask(client, kStatus);
  CHECK(answer["v"] == 1);
  CHECK(answer["ok"] == true);
  CHECK(answer["exit"] == 0);
  CHECK(answer["version"] == "1.2.3");
  CHECK(answer["result"]["command"] == "status");
  CHECK(answer["result"]["pid"] == ::getpid());
  CHECK(answer["result"]["uid"] == ::getuid());
}

TEST_CASE("control server: several requests at once are answered in their order") {
  Fixture fixture;
  auto client = fixture.client();
  std::string batch;
  for (int i = 0; i < 100; ++i)
    batch += json{{"v", 1}, {"command", "c" + std::to_string(i)}}.dump() + "\n";
  REQUIRE(client.send(batch));
  for (int i = 0; i < 100; ++i) {
    const auto answer = client.line();
    REQUIRE(answer.has_value());
    CHECK(json::parse(*answer)["result"]["command"] == "c" + std::to_string(i));
  }
}

TEST_CASE("control server: a client that has ended its side still gets its answer") {
  Fixture fixture;
  auto client = fixture.client();
  REQUIRE(client.send("{\"v\":1,\"command\":\"later\"}\n"));
  client.end_sending();
  fixture.take_kept(1)[0].ok("done");
  const auto rest = client.rest();
  REQUIRE(rest.has_value());
  CHECK(json::parse(*rest)["result"] == "done");
}

TEST_CASE("control server: malformed requests are answered, and the connection goes on") {
  Fixture fixture;
  auto client = fixture.client();
  for (const char* line :
       {"garbage\n", "{\"v\":1\n", "[]\n", "\x80\xff\n", "{\"v\":7,\"command\":\"status\"}\n"}) {
    const json answer = ask(client, line);
    CHECK(answer["ok"] == false);
    CHECK(answer["exit"] == 2);
    CHECK_FALSE(answer["error"]["message"].get<std::string>().empty());
  }
  CHECK(fixture.calls == 0);
  CHECK(ask(client, kStatus)["ok"] == true);
}

TEST_CASE("control server: a request without its newline is answered when the client ends") {
  Fixture fixture;
  auto client = fixture.client();
  REQUIRE(client.send("{\"v\":1,\"command\":\"status\"}"));
  client.end_sending();
  const auto rest = client.rest();
  REQUIRE(rest.has_value());
  CHECK(json::parse(*rest)["error"]["code"] == codes::kBadRequest);
}

TEST_CASE(
    "control server: an oversize request is refused and the connection ended, with or without a "
    "newline") {
  Fixture fixture([](ControlServerOptions& options) { options.max_request_bytes = 1000; });
  for (const char* end : {"", "\n"}) {
    auto client = fixture.client();
    client.send(std::string(200'000, 'x') + end);
    const auto rest = client.rest();
    REQUIRE(rest.has_value());
    CHECK(json::parse(*rest)["error"]["code"] == codes::kRequestTooLarge);
  }
  auto client = fixture.client();
  CHECK(ask(client, std::string(1000 - 27, ' ') + kStatus)["ok"] ==
        true);  // the limit itself is allowed
}

TEST_CASE(
    "control server: a command that takes time holds up nobody else, and may be answered by any "
    "thread") {
  Fixture fixture;
  auto slow = fixture.client();
  REQUIRE(slow.send("{\"v\":1,\"command\":\"later\"}\n"));
  auto kept = fixture.take_kept(1);
  auto other = fixture.client();
  CHECK(ask(other, kStatus)["ok"] == true);
  CHECK_FALSE(kept[0].answered());
  std::jthread([reply = kept[0]] { reply.fail(codes::kRefused, "no", "why not"); }).join();
  CHECK(kept[0].answered());
  kept[0].ok("too late, and ignored");
  const json answer = json::parse(slow.line().value_or("null"));
  CHECK(answer["error"]["code"] == "refused");
  CHECK(answer["error"]["hint"] == "why not");
  CHECK(ask(slow, kStatus)["result"]["command"] == "status");  // no second answer came between
}

TEST_CASE(
    "control server: a request that runs out of time is answered, and its late answer is dropped") {
  Fixture fixture;
  auto client = fixture.client();
  const json late = ask(client, "{\"v\":1,\"command\":\"later\",\"timeout_ms\":30}\n");
  CHECK(late["error"]["code"] == "timeout");
  CHECK(late["exit"] == 6);
  CHECK(late["error"]["message"].get<std::string>().find("30 ms") != std::string::npos);
  fixture.take_kept(1)[0].ok("too late");
  CHECK(ask(client, kStatus)["result"]["command"] == "status");
}

TEST_CASE("control server: a forgotten request and a handler that throws are told to the client") {
  Fixture fixture;
  auto client = fixture.client();
  CHECK(ask(client, "{\"v\":1,\"command\":\"drop\"}\n")["error"]["code"] == "internal");
  const json thrown = ask(client, "{\"v\":1,\"command\":\"throw\"}\n");
  CHECK(thrown["error"]["code"] == "internal");
  CHECK(thrown["error"]["message"].get<std::string>().find("thrown on purpose") !=
        std::string::npos);
}

TEST_CASE("control server: a silent client and one that sends byte by byte are closed in time") {
  Fixture fixture([](ControlServerOptions& options) { options.idle_timeout = 100ms; });
  auto silent = fixture.client();
  auto slow = fixture.client();
  CHECK(silent.rest() == "");
  // A byte now and then does not extend the time for the whole request.
  const auto deadline = std::chrono::steady_clock::now() + test::kPatience;
  while (slow.send("x") && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(5ms);
  CHECK(std::chrono::steady_clock::now() < deadline);
  CHECK(answers_somebody(fixture));
}

TEST_CASE(
    "control server: a client that does not take its answers is closed, and meanwhile costs one "
    "answer") {
  Fixture fixture([](ControlServerOptions& options) { options.idle_timeout = 300ms; });
  auto greedy = fixture.client();
  std::string batch;
  for (int i = 0; i < 50; ++i) batch += "{\"v\":1,\"command\":\"big\"}\n";
  REQUIRE(greedy.send(batch));
  CHECK(answers_somebody(fixture));
  // Closed: what the daemon had sent so far is there, then the end.
  const auto dead = [&] {
    pollfd look{greedy.fd(), 0, 0};
    return ::poll(&look, 1, 0) == 1 && (look.revents & POLLHUP);
  };
  CHECK(test::eventually(dead));
  CHECK(fixture.calls <= 3);
}

TEST_CASE("control server: when all places are taken the longest silent connection makes way") {
  Fixture fixture([](ControlServerOptions& options) { options.max_connections = 4; });
  std::vector<RawClient> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(fixture.client());
    REQUIRE(ask(clients.back(), kStatus)["ok"] == true);
  }
  REQUIRE(ask(clients[0], kStatus)["ok"] == true);  // now the second is the one
  auto next = fixture.client();
  CHECK(ask(next, kStatus)["ok"] == true);
  CHECK(clients[1].rest() == "");
  for (const std::size_t i : {0, 2, 3}) CHECK(ask(clients[i], kStatus)["ok"] == true);
}

TEST_CASE("control server: one too many is told so when all others wait for answers") {
  Fixture fixture([](ControlServerOptions& options) { options.max_connections = 4; });
  std::vector<RawClient> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(fixture.client());
    REQUIRE(clients.back().send("{\"v\":1,\"command\":\"later\"}\n"));
  }
  auto kept = fixture.take_kept(4);
  {
    auto refused = fixture.client();
    const auto rest = refused.rest();
    REQUIRE(rest.has_value());
    CHECK(json::parse(*rest)["error"]["code"] == "busy");
  }
  kept[0].ok({});
  CHECK(answers_somebody(fixture));
}

TEST_CASE("control server: many clients at once are all answered") {
  Fixture fixture;
  std::atomic<int> good{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 32; ++t) {
      threads.emplace_back([&] {
        auto fd = connect_socket(fixture.dir / "control.sock");
        if (!fd) return;
        RawClient client(std::move(*fd));
        for (int i = 0; i < 50; ++i) {
          if (!client.send(kStatus)) return;
          const auto line = client.line();
          if (line && json::parse(*line)["ok"] == true) ++good;
        }
      });
    }
  }
  CHECK(good == 32 * 50);
}

TEST_CASE(
    "control server: at its end it answers what is under way and removes its socket; a reply may "
    "outlive it") {
  Fixture fixture;
  auto client = fixture.client();
  REQUIRE(client.send("{\"v\":1,\"command\":\"later\"}\n"));
  auto kept = fixture.take_kept(1);
  fixture.server.reset();
  const auto rest = client.rest();
  REQUIRE(rest.has_value());
  CHECK(json::parse(*rest)["error"]["code"] == "stopping");
  CHECK_FALSE(std::filesystem::exists(fixture.dir / "control.sock"));
  kept[0].ok("into the void");
  CHECK(kept[0].answered());
}

TEST_CASE("control server: a socket in use is an error that names it") {
  Fixture fixture;
  ControlServerOptions options;
  options.path = fixture.dir / "control.sock";
  const auto second = ControlServer::start(options, [](const Request&, Reply) {}, nullptr);
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().find(options.path) != std::string::npos);
}
