// smarm: Silly Marks Abstract Rust Machine, here in C++. Green-thread actors in plain blocking
// code.
//
// This header is the whole public face; each part says its own contract.
#pragma once

#include <smarm/smarm.h>        // IWYU pragma: export
#include <smarm/actor.hpp>      // IWYU pragma: export
#include <smarm/channel.hpp>    // IWYU pragma: export
#include <smarm/config.hpp>     // IWYU pragma: export
#include <smarm/exit.hpp>       // IWYU pragma: export
#include <smarm/fault.hpp>      // IWYU pragma: export
#include <smarm/generator.hpp>  // IWYU pragma: export
#include <smarm/io.hpp>         // IWYU pragma: export
#include <smarm/mutex.hpp>      // IWYU pragma: export
#include <smarm/pid.hpp>        // IWYU pragma: export
#include <smarm/runtime.hpp>    // IWYU pragma: export
#include <smarm/sendable.hpp>   // IWYU pragma: export
#include <smarm/time.hpp>       // IWYU pragma: export
#include <smarm/timer.hpp>      // IWYU pragma: export
#include <smarm/trace.hpp>      // IWYU pragma: export
