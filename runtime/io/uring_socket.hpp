// Reading from and writing to a socket of a runtime whose backend is the ring, and waiting for one.
#pragma once

#include "runtime/io/socket.hpp"

#include <cstdint>

namespace smarm {

struct SocketCall;

// Whether the ring carries this out; else it tells when to try.
bool transfers_by_ring(const SocketCall& call, std::int64_t timeout_ns);
// An attempt, unless the last one has taken all; then a receive that waits in the kernel, right
// into the buffer. Only of TCP: what another socket has given may be lost when a buffer turns out
// bad. 0 with the result in n, SMARM_E_TIMEOUT, an errno or kKilled.
int receive_by_ring(const SocketCall& call, std::int64_t timeout_ns, long& n);
// Submitted with what other actors do meanwhile; never waits in the kernel.
int send_by_ring(const SocketCall& call, std::int64_t timeout_ns, long& n);
// 0, SMARM_E_TIMEOUT, an errno or kKilled.
int wait_by_ring(smarm_socket& s, Direction direction, std::uint64_t deadline_ns);

}  // namespace smarm
