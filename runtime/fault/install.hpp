// What watches for faults is put in place before the first runtime is made.
#pragma once

namespace smarm {

// __cxa_throw records where an actor's exception was thrown.
void install_throw_trace();
// std::terminate ends the actor that called it.
void install_terminate_handler();
// When another has taken its place meanwhile.
void restore_terminate_handler();
// A stack overflow, and by policy a fault or an abort(), is an exception of the actor that made it;
// a fault in a hibernating stack thaws it. Any other goes to the handler that was there before, or
// ends the process with a report. Under AddressSanitizer its own handlers report all of them.
void install_fault_handlers();

}  // namespace smarm
