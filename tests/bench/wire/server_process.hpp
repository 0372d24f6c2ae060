// A server under load: a process, ended with its object.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace wire {

class ServerProcess {
 public:
  // On that CPU, or on any, its standard output and error in a file. Throws std::runtime_error.
  ServerProcess(const std::vector<std::string>& command, std::optional<unsigned> cpu,
                const std::string& output);
  ~ServerProcess();  // SIGTERM, then SIGKILL
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  std::uint64_t cpu_ns() const;        // of all its threads so far
  std::uint64_t memory_bytes() const;  // VmRSS + VmPTE
  bool ended() const;

 private:
  pid_t pid_ = -1;
};

// The calling thread runs on that CPU from now on.
void stay_on(unsigned cpu);

// A TCP port of 127.0.0.1 that nobody uses now.
std::uint16_t free_port();

}  // namespace wire
