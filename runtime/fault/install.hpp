// What watches for faults is put in place before the first runtime is made.
#pragma once

namespace smarm {

// __cxa_throw records where an actor's exception was thrown.
void install_throw_trace();
// std::terminate ends the actor that called it.
void install_terminate_handler();
// SIGSEGV in a hibernating stack thaws it. Before the first runtime that freezes any.
void install_memory_fault_handler();

}  // namespace smarm
