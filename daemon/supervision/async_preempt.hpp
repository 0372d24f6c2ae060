// Preemption by signal, as the configuration asks for it.
#pragma once

#include "daemon/config/config.hpp"
#include "daemon/log/logger.hpp"

#include <smarm/smarm.h>

namespace smarmd {

// Sets runtime.async_preempt_ms, at the start or while the runtime runs; a warning where this
// machine cannot. nullptr: the calling actor's runtime.
void set_async_preempt(smarm_runtime* runtime, const RuntimeConfig& config, Logger& logger);

}  // namespace smarmd
