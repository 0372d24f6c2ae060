#include "daemon/supervision/blocked_reports.hpp"

#include <sys/syscall.h>

#include <utility>

namespace smarmd {

// Those that wait for somebody or something.
std::string system_call_name(std::int64_t number) {
#define NAMED(call) \
  case SYS_##call: return #call
  switch (number) {
    NAMED(read);
    NAMED(write);
    NAMED(readv);
    NAMED(writev);
    NAMED(pread64);
    NAMED(pwrite64);
    NAMED(preadv);
    NAMED(pwritev);
    NAMED(open);
    NAMED(openat);
    NAMED(close);
    NAMED(fsync);
    NAMED(fdatasync);
    NAMED(poll);
    NAMED(ppoll);
    NAMED(select);
    NAMED(pselect6);
    NAMED(epoll_wait);
    NAMED(epoll_pwait);
    NAMED(nanosleep);
    NAMED(clock_nanosleep);
    NAMED(pause);
    NAMED(futex);
    NAMED(accept);
    NAMED(accept4);
    NAMED(connect);
    NAMED(recvfrom);
    NAMED(recvmsg);
    NAMED(recvmmsg);
    NAMED(sendto);
    NAMED(sendmsg);
    NAMED(sendmmsg);
    NAMED(sendfile);
    NAMED(splice);
    NAMED(flock);
    NAMED(fcntl);
    NAMED(ioctl);
    NAMED(wait4);
    NAMED(waitid);
    NAMED(msgrcv);
    NAMED(msgsnd);
    NAMED(semop);
    NAMED(semtimedop);
    NAMED(rt_sigtimedwait);
    NAMED(rt_sigsuspend);
    NAMED(fork);
    NAMED(vfork);
    NAMED(clone);
    NAMED(execve);
    NAMED(stat);
    NAMED(lstat);
    NAMED(fstat);
    NAMED(newfstatat);
    NAMED(getdents64);
    NAMED(unlink);
    NAMED(rename);
    NAMED(mkdir);
    NAMED(getrandom);
    default: return "call " + std::to_string(number);
  }
#undef NAMED
}

std::string blocked_text(const std::string& plugin, const BlockedActor& b) {
  return plugin + ": actor " + b.pid.to_string() + (b.name.empty() ? "" : " \"" + b.name + "\"") +
         " blocks its thread in " + system_call_name(b.system_call) + ", for " +
         std::to_string(b.blocked_ms) +
         " ms so far; an extra worker takes its place. Use the runtime's calls, or block_on_io";
}

Fields blocked_fields(const std::string& plugin, const BlockedActor& b, std::uint64_t suppressed,
                      LateText backtrace) {
  return {{"plugin", plugin},
          {"actor", b.pid.to_string()},
          {"name", b.name},
          {"system_call", system_call_name(b.system_call)},
          {"blocked_ms", b.blocked_ms},
          {"suppressed", suppressed},
          {"backtrace", std::move(backtrace)}};
}

}  // namespace smarmd
