// StreamServer: a thread that accepts and serves a few stream connections with poll. The control
// socket and the metrics page are protocols on top of it.
//
// The thread never blocks but in poll. Every connection is bounded: in number, in bytes it may
// send, in time it may take. When all places are taken, who has been silent longest makes way for a
// newcomer; but root and the daemon's own user make way only for each other.
//
// A connection is in one phase:
//   reading    its bytes are read and given to the protocol; silent until the deadline: closed
//   working    the protocol prepares an answer and nothing is read; at the deadline the protocol is
//              asked for an answer
//   finishing  the last answer goes out, then the sending side is shut and what still arrives is
//              thrown away until the peer closes, so that the answer is not lost to a reset
// While an answer is going out nothing is read either: a client that does not take its answers
// cannot make us hold more than one.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "daemon/control/protocol.hpp"
#include "daemon/plugin/unique_fd.hpp"

namespace smarmd {

using SteadyClock = std::chrono::steady_clock;
using plugin::UniqueFd;

// Wakes a poll loop. [any, actors too] It outlives the loop that it wakes.
class Wakeup {
 public:
  Wakeup();
  void wake() const;
  void clear() const;
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

struct Connection {
  enum class Phase { reading, working, finishing };

  std::uint64_t id = 0;
  UniqueFd fd;
  Peer peer;        // of a Unix socket; zeros else
  std::string in;   // received and not yet consumed by the protocol
  std::string out;  // to be sent
  Phase phase = Phase::reading;
  SteadyClock::time_point deadline;
  bool ended = false;  // the peer has shut its sending side
  bool shut = false;   // we have shut ours
  bool dead = false;   // to be closed at the end of the turn
};

// What is spoken over the connections. Every function is called by the server's thread.
class StreamProtocol {
 public:
  virtual ~StreamProtocol() = default;
  // There is something in connection.in, or the peer has ended; called until it neither consumes
  // nor changes the phase.
  virtual void on_input(Connection& connection) = 0;
  virtual void on_work_deadline(Connection& connection) = 0;  // phase working took too long
  virtual std::string refusal() = 0;  // what a connection over the limit is told
  virtual void on_wake() {}           // wakeup() was used
  virtual void on_stop() {}           // last chance to answer
};

struct StreamServerOptions {
  std::string thread_name;
  std::size_t max_connections = 64;
  std::chrono::milliseconds idle_timeout{60'000};
};

class StreamServer {
 public:
  StreamServer(UniqueFd listener, StreamServerOptions options, StreamProtocol& protocol);
  StreamServer(const StreamServer&) = delete;
  StreamServer& operator=(const StreamServer&) = delete;
  ~StreamServer() { stop(); }

  void start();
  void stop();  // joins; a second call does nothing
  std::shared_ptr<const Wakeup> wakeup() const { return wakeup_; }

  // For the protocol, on the server's thread.
  Connection* find(std::uint64_t id);
  std::map<std::uint64_t, Connection>& connections() { return connections_; }
  // Queues an answer and goes back to reading.
  void answer(Connection& connection, std::string bytes);
  // Queues the last answer.
  void finish(Connection& connection, std::string bytes);
  void work_until(Connection& connection, SteadyClock::time_point deadline);

 private:
  void run(const std::stop_token& stop);
  int poll_timeout() const;
  void accept_all();
  void admit(UniqueFd fd);
  bool make_way(const Peer& newcomer);
  void serve(Connection& connection, short events);
  void receive(Connection& connection);
  void feed(Connection& connection);
  void send_out(Connection& connection);
  void expire(Connection& connection);
  short wanted_events(const Connection& connection) const;

  const StreamServerOptions options_;
  const UniqueFd listener_;
  const std::shared_ptr<Wakeup> wakeup_;
  StreamProtocol& protocol_;

  // The server's thread only.
  std::map<std::uint64_t, Connection> connections_;
  std::uint64_t next_id_ = 1;
  SteadyClock::time_point
      accept_again_{};  // no accept before this: the process is out of descriptors

  std::jthread thread_;
};

}  // namespace smarmd
