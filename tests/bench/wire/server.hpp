// The servers that are measured: wire_server KIND PORT serves on 127.0.0.1 until SIGTERM.
#pragma once

#include <cstdint>
#include <span>

namespace wire {

// A listening socket, non-blocking. Ends the process when there is none to be had.
int listen_on(std::uint16_t port);
[[noreturn]] void die(const char* what);

// What a bare server answers to a request, which comes in one piece.
using Answer = std::span<const char> (*)(std::span<const char> request);
std::span<const char> echo_answer(std::span<const char> request);
std::span<const char> http_answer(std::span<const char> request);  // to any request: hello

// One thread each, for ever.
void serve_by_epoll(std::uint16_t port, Answer answer);  // the floor: a bare loop, level-triggered
// The same with what a server of stacks and threads cannot do without: memory of its own for each
// connection, 64 KiB apart, and a second thread, asleep (the kernel then counts who uses a file).
void serve_by_epoll_with_stacks(std::uint16_t port, Answer answer);
// The same on a bare ring; multishot: receives go on by themselves, into buffers of the kernel's
// choice.
void serve_by_uring(std::uint16_t port, Answer answer, bool multishot = false);
// Ours: an actor for each connection.
enum class Neighbour {
  none,
  allocating,  // an actor that computes and allocates, for ever, on the same worker
  spinning     // one that only computes
};
struct Actors {
  Neighbour neighbour = Neighbour::none;
  bool hibernates = false;  // connections that are idle for a second give their stacks back
  bool ring = false;        // the backend is io_uring
  unsigned workers = 1;
};
void serve_by_actors(std::uint16_t port, Actors how);

}  // namespace wire
