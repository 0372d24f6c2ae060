// Forced unwinding: how a flow of control that is killed leaves its stack, running every destructor
// on the way.
//
// It is what pthread_cancel does: `catch (...)` sees it as abi::__forced_unwind and must rethrow; a
// handler that swallows it is noticed.
#pragma once

namespace smarm {

// Unwinds the calling stack up to the first `catch (abi::__forced_unwind&)` that keeps it: the base
// of the stack has one. on_swallowed(arg) is called when a handler ends without rethrowing, the
// base's own included.
[[noreturn]] void force_unwind(void (*on_swallowed)(void*), void* arg);

// The same for a thread that runs no actor: to the end of its stack, where the thread ends as by
// pthread_exit. cut_short() is called where that does not work out, and must not come back.
[[noreturn]] void unwind_thread(void (*cut_short)());

}  // namespace smarm
