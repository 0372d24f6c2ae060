// The last words of a process that ends by a fault.
//
// To stderr, a line at a time: what happened, to which actor and by whose code, registers and
// backtrace; then the same of every other worker that runs an actor, which it is made to tell by a
// signal (SIGURG, whose handler is replaced: nobody needs it any more) and then stays where it is;
// then what actors there are besides. A worker that does not answer within 200 ms is named.
//
// Async-signal-safe: no allocation, no lock. One thread reports; another that wants to waits for
// the end.
#pragma once

#include <signal.h>
#include <ucontext.h>

namespace smarm {

// The process ends by that signal, of an instruction at pc. context may be null. Nothing is
// written when this thread is reporting already: a fault in the report ends it.
void report_fault(int signal, const void* address, const void* pc, const ucontext_t* context);
// It ends because of what the text says; the backtrace begins at pc, null: at the caller.
void report_end(const char* what, const void* pc);

// What each line begins with, "<2>" for a journal; a string that lives on.
void set_report_prefix(const char* prefix);

}  // namespace smarm
