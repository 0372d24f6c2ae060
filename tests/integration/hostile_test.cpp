// Hostile clients beside well-behaved ones: resets at any moment, requests that stop half-way,
// readers that never read, bytes that nobody waits for. In the gate it runs for a few seconds;
// SMARM_HOSTILE_SECONDS asks for another time.
#include "tests/integration/echo_client.hpp"

#include <fcntl.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>
#include <vector>

using namespace integration;

namespace {

std::chrono::seconds duration() {
  const char* text = std::getenv("SMARM_HOSTILE_SECONDS");
  return std::chrono::seconds(text ? std::atoi(text) : 5);
}

std::size_t fds_of(pid_t pid) {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& fd :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd"))
    ++n;
  return n;
}

int connect_to(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  return fd;
}

// One hostile thread: some dozens of connections, each step something random to one of them.
class Hostile {
 public:
  Hostile(std::uint16_t port, unsigned seed) : port_(port), random_(seed) {}
  ~Hostile() {
    for (int fd : fds_) {
      if (fd >= 0) ::close(fd);
    }
  }
  Hostile(const Hostile&) = delete;
  Hostile& operator=(const Hostile&) = delete;

  void step() {
    int& fd = fds_[random_() % fds_.size()];
    if (fd < 0) {
      fd = connect_to(port_);
      return;
    }
    ++steps;
    switch (random_() % 8) {
      case 0: return reset(fd);
      case 1: return end(fd);
      case 2: ::shutdown(fd, SHUT_WR); return;
      case 3: ::shutdown(fd, SHUT_RD); return;
      case 4: return send_some(fd, 1 + random_() % 3);  // a short write
      case 5: return send_some(fd, bulk_.size());       // and it may never read the answer
      case 6: ::send(fd, "!", 1, MSG_OOB | MSG_NOSIGNAL | MSG_DONTWAIT); return;
      default: read_some(fd); return;  // or it stalls, when there is nothing
    }
  }
  std::size_t steps = 0;

 private:
  void end(int& fd) { ::close(std::exchange(fd, -1)); }
  void reset(int& fd) {
    const linger at_once{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    end(fd);
  }
  void send_some(int fd, std::size_t n) {
    ::send(fd, bulk_.data(), std::min(n, bulk_.size()), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  void read_some(int fd) {
    char buffer[1000];
    ::recv(fd, buffer, 1 + random_() % sizeof buffer, MSG_DONTWAIT);
  }

  const std::uint16_t port_;
  std::minstd_rand random_;
  std::array<int, 40> fds_ = [] {
    std::array<int, 40> none;
    none.fill(-1);
    return none;
  }();
  const std::string bulk_ = std::string(300'000, 'b');
};

// The rest of the case runs once for each.
std::uint16_t start_echo_on_each_backend(DaemonProcess& d, int idle_s) {
  SUBCASE("epoll") { d.config["runtime"]["io_backend"] = "epoll"; }
  SUBCASE("io_uring") { d.config["runtime"]["io_backend"] = "io_uring"; }
  const std::uint16_t port = install_echo(d);
  d.config["plugins"]["overrides"]["echo"]["config"]["idle_s"] = idle_s;
  d.start_ready();
  return port;
}

}  // namespace

TEST_SUITE("hostile") {
  TEST_CASE("hostile clients cost the others nothing, and leave nothing behind") {
    DaemonProcess d;
    const std::uint16_t port = start_echo_on_each_backend(d, 10);
    const auto actors = [&d] { return d.plugin("echo")["actors"].get<std::int64_t>(); };
    {
      EchoClient first(d, port);
      CHECK(first.answers());
    }
    d.until([&] { return actors() == 1; }, "the first client's actor has ended");
    const std::size_t fds_before = fds_of(d.pid());

    std::atomic<bool> over{false};
    std::atomic<std::size_t> served{0}, failed{0}, hostile_steps{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&, i] {
        Hostile hostile(port, 1 + static_cast<unsigned>(i));
        std::size_t before = 0;
        while (!over) {
          for (int k = 0; k < 50; ++k) hostile.step();
          // The machine has other things to do; the daemon's share is what is tested. A slow one,
          // under a sanitizer, is not to have more connections than it may before it sees that
          // those before have gone.
          do std::this_thread::sleep_for(1ms);
          while (!over && served + failed == before);
          before = served + failed;
        }
        hostile_steps += hostile.steps;
      });
    std::vector<std::unique_ptr<EchoClient>> good;
    for (int i = 0; i < 10; ++i) good.push_back(std::make_unique<EchoClient>(d, port));
    threads.emplace_back([&] {
      const auto end = std::chrono::steady_clock::now() + duration();
      while (std::chrono::steady_clock::now() < end) {
        for (auto& client : good) ++(client->answers() ? served : failed);
        try {
          EchoClient fresh(d, port);
          ++(fresh.answers() ? served : failed);
        } catch (...) {  // a REQUIRE, which may not leave this thread
          ++failed;
        }
      }
      over = true;
    });
    for (std::thread& t : threads) t.join();
    CHECK(failed.load() == 0);
    CHECK(served.load() > 100);
    CHECK(hostile_steps.load() > 1000);
    good.clear();

    d.until([&] { return actors() == 1; }, "every connection's actor has ended");
    d.until([&] { return fds_of(d.pid()) <= fds_before; }, "every descriptor is closed");
    CHECK(d.logged("plugin.panicked").empty());
    CHECK(d.logged("plugin.actor_panicked").empty());
    CHECK(EchoClient(d, port).answers());
    CHECK(d.stop() == 0);
  }

  TEST_CASE("a daemon that stops under attack stops in its time") {
    DaemonProcess d;
    const std::uint16_t port = start_echo_on_each_backend(d, 1);
    CHECK(EchoClient(d, port).answers());
    std::atomic<std::size_t> steps{0};
    std::vector<std::jthread> threads;
    for (unsigned i = 1; i <= 2; ++i)
      threads.emplace_back([&steps, port, i](const std::stop_token& over) {
        Hostile hostile(port, i);
        while (!over.stop_requested()) {
          for (int k = 0; k < 50; ++k) hostile.step();
          steps += 50;
          std::this_thread::sleep_for(1ms);
        }
      });
    // Long enough for connections that run out of time, too.
    const auto end = std::chrono::steady_clock::now() + 2s;
    d.until([&] { return steps > 2000 && std::chrono::steady_clock::now() > end; }, "the attack");
    CHECK(d.stop() == 0);
    threads.clear();
    CHECK(d.logged("plugin.stopped", {{"plugin", "echo"}}).size() == 1);
    CHECK(d.logged("plugin.panicked").empty());
    CHECK(d.logged("plugin.actor_panicked").empty());
  }
}
