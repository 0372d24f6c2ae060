// Sockets that the service manager passed to the daemon (socket activation), by FileDescriptorName.
#pragma once

#include <map>
#include <string>

namespace smarmd {

// Read-only after the start; plugins get duplicates.
using Listeners = std::map<std::string, int, std::less<>>;

// Takes the passed descriptors over and the variables that name them out of the environment. Call
// once, before any thread starts. Of several with one name the first counts.
Listeners take_listeners();

}  // namespace smarmd
