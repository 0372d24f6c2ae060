// Sockets that the service manager passed to the daemon (socket activation), by FileDescriptorName.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace smarmd {

// Read-only after the start; plugins get duplicates.
using Listeners = std::map<std::string, int, std::less<>>;

struct TakenListeners {
  Listeners listeners;
  std::vector<std::string> twice;  // names that had come before: those sockets were closed
};

// Takes the passed descriptors over and the variables that name them out of the environment. Call
// once, before any thread starts. Of several with one name the first counts.
TakenListeners take_listeners();

}  // namespace smarmd
