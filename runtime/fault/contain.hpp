// What is done with a plugin's code that would end the process from outside an actor.
#pragma once

namespace smarm {

// `did` says what, in words, as "called exit(3)"; culprit: an address in the plugin's code. A
// thread of the plugin's own ends, unwound when that is asked for and as far as it goes, and a job
// of block_on_io fails its actor: neither comes back. On a thread of the host's, which may hold
// what others need, the process ends with a report that names the plugin. Outside a host it comes
// back at once.
void contain(const char* did, const void* culprit, bool unwind);

// The calling thread is being ended already, by the above.
bool thread_is_ending() noexcept;
// Ends it as it is: who joins it goes on.
[[noreturn]] void end_thread_at_once() noexcept;

}  // namespace smarm
