// Supervision in the runtime: who hears of an actor's end, deadlines, and the stop signal. Policy
// (restarts, budgets) is the daemon's.
//
// A supervisor's mailbox is kept under its pid; it is an ordinary channel of smarm::Signal, but no
// message of any other kind shares it. An actor's end looks its supervisor up (a flag in the
// control block says in one load that there is nobody) and sends. When the supervisor ends, its
// registration ends.
#pragma once

#include "runtime/actor/actor.hpp"

#include <smarm/smarm.h>

namespace smarm {

// Before the first runtime is made.
void install_supervision_hook();

// nullptr takes the registration away.
int register_supervisor(smarm_pid pid, smarm_channel* mailbox);
// Arms the deadline of a just spawned actor, on its worker.
int arm_deadline(Actor& a, std::int64_t after_ns);

int stop_pid(smarm_pid pid);
smarm_channel* make_stop_channel(Actor& self);

}  // namespace smarm
