// Sockets of the RAII types: non-blocking, registered once.
#pragma once

#include <smarm/smarm.h>

#include "runtime/io/epoll_poller.hpp"

#include <atomic>
#include <cstdint>

// The number is closed with the last reference, so that it cannot come to mean another file while a
// call is under way.
struct smarm_socket {
  int fd = -1;
  std::uint32_t generation = 0;
  smarm::ForeignGate* gate = nullptr;        // of the runtime that adopted it
  std::uint64_t runtime = 0;                 // its number
  std::atomic<std::uint32_t> references{1};  // the owner's and one for each call under way
  std::atomic<bool> closed{false};
};

namespace smarm {

// In a section, by an actor of the runtime that adopted it. 0, SMARM_E_TIMEOUT, an errno or
// kKilled.
smarm_socket* adopt_socket(int fd, int& error);
void close_socket(smarm_socket* s);
int read_socket(smarm_socket& s, void* buffer, std::size_t size, std::int64_t timeout_ns,
                std::size_t& done);
int write_socket(smarm_socket& s, const void* buffer, std::size_t size, std::int64_t timeout_ns,
                 std::size_t& done);
int accept_socket(smarm_socket& s, std::int64_t timeout_ns, int& fd);
int connect_socket(smarm_socket& s, const void* address, std::uint32_t length,
                   std::int64_t timeout_ns);

// Raw descriptors, whatever their flags.
int read_raw(int fd, void* buffer, std::size_t size, std::int64_t timeout_ns, std::size_t& done);
int write_raw(int fd, const void* buffer, std::size_t size, std::int64_t timeout_ns,
              std::size_t& done);

}  // namespace smarm
