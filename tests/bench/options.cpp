#include "tests/bench/options.hpp"
#include "tests/bench/harness.hpp"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace bench {
namespace {

bool misuse(const std::string& what) {
  std::fprintf(stderr, "bench: %s\n%s", what.c_str(), kUsage);
  return false;
}

// NAME=VALUE into a peer; `member` takes the value.
bool add_peer(Options& o, std::string_view text, std::string Peer::* member) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == text.npos) return misuse("a peer is given as NAME=...");
  Peer& peer = o.peers.emplace_back();
  peer.name = text.substr(0, equals);
  peer.*member = text.substr(equals + 1);
  return true;
}

// An option with a value; false when it is none or the value is wrong.
bool take(Options& o, std::string_view option, const char* value) {
  if (option == "--runs") {
    o.runs = std::atoi(value);
    return o.runs > 0 || misuse("--runs takes a number above 0");
  }
  if (option == "--peer") return add_peer(o, value, &Peer::program);
  if (option == "--missing") return add_peer(o, value, &Peer::reason);
  if (option == "--once") {
    o.once = true;
    o.once_workers = static_cast<unsigned>(std::atoi(value));
    return true;
  }
  return misuse("unknown option " + std::string(option));
}

}  // namespace

bool parse(int argc, char** argv, Options& o) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--json") {
      o.json = true;
    } else if (word == "--list") {
      o.list = true;
    } else if (word == "--counters") {
      o.counters = true;
    } else if (word.starts_with('-')) {
      if (i + 1 == argc)
        return misuse("unknown option, or one without its value: " + std::string(word));
      if (!take(o, word, argv[++i])) return false;
    } else {
      o.names.emplace_back(word);
    }
  }
  for (const std::string& name : o.names) {
    if (!find(name)) {
      std::fprintf(stderr, "bench: no benchmark is called %s; --list shows them\n", name.c_str());
      return false;
    }
  }
  return true;
}

}  // namespace bench
