// What watches for faults is put in place before the first runtime is made.
#pragma once

namespace smarm {

// __cxa_throw records where an actor's exception was thrown.
void install_throw_trace();
// std::terminate ends the actor that called it.
void install_terminate_handler();

}  // namespace smarm
