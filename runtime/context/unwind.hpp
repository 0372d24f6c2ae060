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

}  // namespace smarm
