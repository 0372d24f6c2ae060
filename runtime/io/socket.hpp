// Sockets of the RAII types: non-blocking, registered once.
#pragma once

#include <smarm/smarm.h>

#include "runtime/io/backend.hpp"

#include <sys/socket.h>

#include <atomic>
#include <cstdint>

// The number is closed with the last reference, so that it cannot come to mean another file while a
// call is under way.
struct smarm_socket {
  int fd = -1;
  std::uint32_t generation = 0;
  enum class Kind : std::uint8_t {
    tcp,     // a read that gives less than was asked for has taken all
    socket,  // any other
    file     // no socket: a pipe
  } kind = Kind::socket;
  bool ring = false;  // it waits, reads and writes through the ring
  // A TCP read through the ring has taken all there was. relaxed: wrong, it costs a system call.
  std::atomic<bool> drained{false};
  std::uint64_t runtime = 0;                 // the number of the one that adopted it
  smarm::FdEntry* entry = nullptr;           // in its poller: only for actors of that runtime
  smarm::ForeignGate* gate = nullptr;        // of that runtime
  std::atomic<std::uint32_t> references{1};  // the owner's and one for each call under way
  std::atomic<bool> closed{false};
};

namespace smarm {

// In a section, by an actor of the runtime that adopted it. 0, SMARM_E_TIMEOUT, an errno or
// kKilled. Reads and writes: socket_call.hpp.
smarm_socket* adopt_socket(int fd, int& error);
void close_socket(smarm_socket* s);
int receive_message(smarm_socket& s, msghdr& message, std::int64_t timeout_ns, std::size_t& done);
int send_message(smarm_socket& s, const msghdr& message, std::int64_t timeout_ns,
                 std::size_t& done);
int accept_socket(smarm_socket& s, std::int64_t timeout_ns, int& fd);
int connect_socket(smarm_socket& s, const void* address, std::uint32_t length,
                   std::int64_t timeout_ns);
void free_socket(smarm_socket& s);  // the last reference has gone

inline std::uint64_t deadline_of(std::int64_t timeout_ns) {
  return timeout_ns < 0 ? kNever
                        : deadline_after(current_worker()->runtime.clock().now_ns(), timeout_ns);
}

// Keeps the block alive while a call is under way: another actor may close the socket meanwhile.
class InUse {
 public:
  explicit InUse(smarm_socket& s) : socket_(s) {
    socket_.references.fetch_add(1, std::memory_order_relaxed);
  }  // relaxed: the caller has it
  ~InUse() { drop(socket_); }
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;
  static void drop(smarm_socket& s) {
    if (s.references.fetch_sub(1, std::memory_order_acq_rel) == 1) [[unlikely]]
      free_socket(s);
  }

 private:
  smarm_socket& socket_;
};

// Raw descriptors, whatever their flags.
int read_raw(int fd, void* buffer, std::size_t size, std::int64_t timeout_ns, std::size_t& done);
int write_raw(int fd, const void* buffer, std::size_t size, std::int64_t timeout_ns,
              std::size_t& done);

}  // namespace smarm
