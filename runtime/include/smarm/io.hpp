// IO in plain blocking style. A wait parks the actor, never the thread; errors are values, never
// errno, and say the operation and the address.
//
// The free functions (fd.hpp) take any descriptor and register it for each wait. The RAII types own
// their descriptor, make it non-blocking and register it once; they are what a server should use.
// Timeouts answer std::errc::timed_out. An object that another actor closes wakes its waiters with
// std::errc::bad_file_descriptor; no call may begin on it while another actor closes it. Several
// actors may wait on one object. An actor that is killed in a wait leaves nothing behind.
#pragma once

#include <smarm/fd.hpp>       // IWYU pragma: export
#include <smarm/file.hpp>     // IWYU pragma: export
#include <smarm/net.hpp>      // IWYU pragma: export
#include <smarm/process.hpp>  // IWYU pragma: export
#include <smarm/signals.hpp>  // IWYU pragma: export
#include <smarm/stream.hpp>   // IWYU pragma: export
