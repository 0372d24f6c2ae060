#include "daemon/supervision/listeners.hpp"

#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cstdlib>

namespace smarmd {

TakenListeners take_listeners() {
  char** names = nullptr;
  const int count = ::sd_listen_fds_with_names(1, &names);
  TakenListeners taken;
  for (int i = 0; i < count; ++i) {
    const int fd = SD_LISTEN_FDS_START + i;
    if (!taken.listeners.try_emplace(names[i], fd).second) {
      // Nobody would ever accept on it.
      ::close(fd);
      taken.twice.emplace_back(names[i]);
    }
    std::free(names[i]);
  }
  std::free(names);
  return taken;
}

}  // namespace smarmd
