// Ours: an actor for each connection, in plain blocking code.

#include "tests/bench/wire/server.hpp"

#include <smarm/smarm.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <utility>

namespace wire {
namespace {

void echo(smarm::TcpStream stream) {
  std::array<char, 2048> buffer;
  for (;;) {
    const auto n = stream.read(buffer);
    if (!n || *n == 0) return;
    if (!stream.write_all(std::span(buffer.data(), *n))) return;
  }
}

// Computes for ever.
void hog(bool allocates) {
  volatile unsigned sum = 0;
  for (;;) {
    for (unsigned i = 0; i < 1000; ++i) sum = sum + i;
    if (allocates) {
      auto some = std::make_unique<unsigned>(sum);
      sum = *some;
    }
  }
}

}  // namespace

void serve_by_actors(std::uint16_t port, Actors how) {
  auto config = smarm::Config::exact(how.workers).async_preempt(std::chrono::milliseconds(10));
  if (how.hibernates) config.hibernate_after(std::chrono::seconds(1));
  if (how.ring) config.io_backend(smarm::IoBackend::io_uring);
  smarm::init(config).run([&] {
    auto listener = smarm::TcpListener::bind("127.0.0.1", port);
    if (!listener) {
      std::fprintf(stderr, "wire_server: %s\n", listener.error().what().c_str());
      std::exit(1);
    }
    if (how.neighbour != Neighbour::none)
      (void)smarm::spawn([n = how.neighbour] { hog(n == Neighbour::allocating); });
    while (auto stream = listener->accept())
      (void)smarm::spawn([s = std::move(*stream)]() mutable { echo(std::move(s)); });
  });
}

}  // namespace wire
