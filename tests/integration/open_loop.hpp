// Open-loop load on an echo server: requests go out at fixed instants whether or not the ones
// before were answered, and the latency of each counts from the instant at which it was due. So a
// server that stalls for 100 ms is late for every request of that time, not for one.
//
// 1. The sender is one thread with nothing else to do, at a raised priority where that is allowed.
//    If it is late itself, what it sends late counts from when it was due.
// 2. The floor: a trivial echo server, one thread pinned to each CPU, gets the same requests at the
//    same instants. It is what this machine can do at that moment. A reply of the server under test
//    that comes too late is excused only by a stall of the floor of kStall or more while the reply
//    was waited for, or so shortly before that work was still piled up: then some CPU was not to be
//    had. Twice that stall is forgiven and no more: an actor that is in the way is stopped by a
//    thread that has to get a CPU, and then the worker has to get one.
// 3. The kernel says how long the server's threads ran, and how long they were runnable and had no
//    CPU. If they waited for more than kMostWait of the time on each CPU (two loops on two CPUs
//    beside the load wait for a tenth of it, with one more process that burns a CPU for 0.4) and
//    ran for less than kLeastRun of it, others were using the machine, and lateness says nothing.
//    A server that has too many threads of its own waits, but it runs all the time.
// 4. The floor's threads have the priority of the process that makes them, as the daemon has. A
//    daemon that burnt all CPUs in many threads would excuse itself; the report says how often.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <sys/types.h>

namespace integration {

struct LoadReport {
  static constexpr std::chrono::milliseconds kLimit{50}, kStall{20};
  static constexpr double kMostWait = 0.2, kLeastRun = 0.85;

  std::string error;  // of a connection: empty when there was none
  std::size_t requests = 0;
  std::size_t late = 0;     // later than kLimit, and no stall of the machine to explain it
  std::size_t excused = 0;  // later than kLimit, but for such a stall
  double p50_ms = 0, p99_ms = 0, worst_ms = 0;
  double floor_p99_ms = 0, floor_worst_ms = 0;
  double ran = 0, waited = 0;  // by rule 3: of the time, on each CPU
  bool had_its_cpus() const { return waited <= kMostWait || ran >= kLeastRun; }
  std::string text() const;
};

class OpenLoop {
 public:
  static constexpr int kConnections = 4;
  static constexpr std::chrono::milliseconds kPeriod{4};  // between two requests of a connection

  // Connects to the echo server at 127.0.0.1:port, which is that process, and begins.
  OpenLoop(std::uint16_t port, pid_t server);
  ~OpenLoop();
  OpenLoop(const OpenLoop&) = delete;
  OpenLoop& operator=(const OpenLoop&) = delete;

  // Sends no more, waits for what is not answered yet, and reports.
  LoadReport finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace integration
