#include "daemon/supervision/listeners.hpp"

#include <systemd/sd-daemon.h>

#include <cstdlib>

namespace smarmd {

Listeners take_listeners() {
  char** names = nullptr;
  const int count = ::sd_listen_fds_with_names(1, &names);
  Listeners listeners;
  for (int i = 0; i < count; ++i) {
    listeners.try_emplace(names[i], SD_LISTEN_FDS_START + i);
    std::free(names[i]);
  }
  std::free(names);
  return listeners;
}

}  // namespace smarmd
