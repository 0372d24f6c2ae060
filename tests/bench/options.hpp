// What the command line asks for.
#pragma once

#include <string>
#include <vector>

namespace bench {

inline constexpr const char* kUsage =
    "usage: bench [--json] [--list] [--counters] [--runs N] [NAME...]\n"
    "             [--peer NAME=PROGRAM]... [--missing NAME=REASON]...  (./dev bench --peers says "
    "these)\n";

struct Peer {
  std::string name;
  std::string program;  // empty: it could not be built
  std::string reason;   // why
};

struct Options {
  bool json = false, list = false, counters = false;
  bool once = false;  // one measurement in this process, without a warm-up: how fresh ones are run
  unsigned once_workers = 0;
  int runs = 5;
  std::vector<std::string> names;
  std::vector<Peer> peers;
};

// False (and a message) when it makes no sense.
bool parse(int argc, char** argv, Options& o);

}  // namespace bench
