// Whose doing a call is that concerns the whole process: the names that are interposed for it
// (exit, abort, sigaction, ...) are the host's to call, and no plugin's.
//
// A process is a host from its first runtime whose faults are those of plugins only. An embedding
// program's own threads do as they like; of its actors the code outside the runtime counts as a
// plugin's would.
#pragma once

#include <cstddef>

namespace smarm {

// Before the first runtime is made.
void learn_process();
void become_host();
// In a child process, forked or not yet exec'd, everything is as it would be without a runtime.
bool in_own_process() noexcept;
bool is_host() noexcept;

// Whether the call that returns there is one of the current actor's own code, outside a section,
// so that the actor can fail in its place.
bool called_by_actor(const void* return_address) noexcept;
// Whether, in a host, it is one of a plugin's code, on whatever thread.
bool called_by_plugin(const void* return_address) noexcept;

// Whether the calling thread was started by a plugin: below everything on its stack is code of
// one. Not a worker, the main thread, or one of the host's own that runs a plugin's code.
bool on_plugins_thread() noexcept;
// The innermost address on the calling stack that is in a plugin's code, in no system library;
// nullptr when there is none.
const void* innermost_plugin_code() noexcept;

// The file that it is in; "" when unknown. Lives as long as the image.
const char* image_of_code(const void* pc) noexcept;
// "symbol+0x12 (image+0x1234)": whatever of it is known. Not in a signal handler.
void describe_place(const void* pc, char* out, std::size_t size);

}  // namespace smarm
