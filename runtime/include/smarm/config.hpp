// Config: how a runtime is made. A value; every setter returns the changed object.
#pragma once

#include <smarm/smarm.h>
#include <smarm/time.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace smarm {

// What a SIGSEGV, SIGBUS, SIGFPE, SIGILL, abort() or exit() of an actor does.
enum class OnFault {
  panic_safe = SMARM_ON_FAULT_PANIC_SAFE,  // a Panic, but a wild address ends the process
  panic = SMARM_ON_FAULT_PANIC,            // always a Panic
  abort = SMARM_ON_FAULT_ABORT,            // always ends the process, with a report
};
enum class FaultScope { program = SMARM_FAULTS_OF_PROGRAM, plugins = SMARM_FAULTS_OF_PLUGINS };
enum class IoBackend { epoll = SMARM_IO_EPOLL, io_uring = SMARM_IO_URING };

class Config {
 public:
  Config() {
    smarm_config_init(&raw_);
  }  // one worker per usable CPU: the affinity mask and the cgroup quota count
  static Config exact(unsigned workers) {
    Config c;
    c.raw_.workers = workers;
    return c;
  }

  Config& workers(unsigned n) { return raw_.workers = n, *this; }
  // Every n-th allocation looks at the clock. 1 to 1,000,000; 128 by default.
  Config& alloc_interval(std::uint32_t n) { return raw_.alloc_interval = n, *this; }
  // How long an actor may run before an allocation yields for it, in cycles of the time-stamp
  // counter; 300,000 by default.
  Config& timeslice_cycles(std::uint64_t n) { return raw_.timeslice_cycles = n, *this; }
  // Bytes of a stack slot, its guard (the lower quarter) included; rounded up to a power of two; 64
  // KiB by default.
  Config& stack_size(std::size_t bytes) { return raw_.stack_size = bytes, *this; }
  // epoll by default. With io_uring receives, sends, waits and whole files go through a ring, which
  // is cheaper with one worker; several share it, and are better served by epoll. init throws where
  // there is none to be had (Linux 5.19; a sysctl or a sandbox may forbid it) and says why. While
  // an actor waits for a bare descriptor there the kernel keeps the file open. What a worker has
  // submitted completes on its thread. So it is not for actors that block their threads much: a
  // call that can be interrupted is, and those that have no restart (epoll_wait, a receive with
  // SO_RCVTIMEO) fail with EINTR; during one that cannot (vfork, a page read from a disk) the waits
  // that began on that thread do not end, by time or a kill neither.
  Config& io_backend(IoBackend b) { return raw_.io_backend = static_cast<std::uint32_t>(b), *this; }
  // The most threads that block_on_io may run at once; 64 by default. The last eighth of them is
  // for accounts that have no job running.
  Config& blocking_threads(unsigned n) { return raw_.blocking_threads = n, *this; }

  // Which faults end the actor and which the process; panic_safe by default. Faults of the program
  // itself count as an actor's unless the scope is plugins.
  Config& on_fault(OnFault what, FaultScope whose = FaultScope::program) {
    raw_.on_fault = static_cast<std::uint16_t>(what);
    raw_.fault_scope = static_cast<std::uint16_t>(whose);
    return *this;
  }

  // An actor that runs for longer without an allocation or a core call is stopped by a signal, when
  // it is in code of the program's or a plugin's own and holds no lock, and goes on after the
  // others, on the same OS thread. Rounded up to 0.1 ms. 0, the default: never. Takes SIGURG and a
  // thread of its own, which sleeps when all workers have been idle for a second.
  template <class Rep, class Period>
  Config& async_preempt(std::chrono::duration<Rep, Period> quantum) {
    const std::int64_t ns = detail::to_ns(quantum);
    raw_.async_preempt_ns = ns <= 0 ? 0 : (ns < 100'000 ? 100'000 : static_cast<std::uint64_t>(ns));
    return *this;
  }

  // An actor that is parked for longer gives the pages of its stack back, some 4 KiB, and gets them
  // at the same address when it wakes, for some microseconds. 0, the default: never.
  template <class Rep, class Period>
  Config& hibernate_after(std::chrono::duration<Rep, Period> parked) {
    const std::int64_t ns = detail::to_ns(parked);
    return raw_.hibernate_after_ns = ns < 0 ? 0 : static_cast<std::uint64_t>(ns), *this;
  }

  // Hears of each actor that blocks its OS thread for some 10 ms, and of what keeps an extra worker
  // from taking its place (smarm_blocked_kind). Called on a thread of the runtime's own: do not
  // hold it up.
  Config& on_blocked(void (*hear)(const smarm_blocked*, void* arg), void* arg = nullptr) {
    raw_.on_blocked = hear;
    raw_.on_blocked_arg = arg;
    return *this;
  }

  // Hears of each actor that ends by a panic, before its joiner and its supervisor do. Called on
  // its worker: do not park, and do not throw.
  Config& on_panic(void (*hear)(const smarm_panic*, void* arg), void* arg = nullptr) {
    raw_.on_panic = hear;
    raw_.on_panic_arg = arg;
    return *this;
  }

  const smarm_config& raw() const { return raw_; }

 private:
  smarm_config raw_;
};

}  // namespace smarm
