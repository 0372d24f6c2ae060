// Whose code an address is in: what a fault there means depends on it.
#pragma once

#include <cstdint>

namespace smarm {

enum class Text : std::uint8_t {
  user,      // plugins, and in an embedding program its own code: may be unwound at any instruction
  unwinder,  // libgcc: it holds nothing, but cannot unwind itself
  runtime,   // may be in the middle of anything
  host,      // libc, the dynamic linker: may hold locks
};

// Before the first fault can come: finds the libraries.
void learn_text();
// Async-signal-safe. plugins_only: the program itself is the host's.
Text text_at(std::uintptr_t pc, bool plugins_only) noexcept;
// Async-signal-safe. Whether it is in a shared object that came with the system, or in none.
bool in_system_library(std::uintptr_t pc) noexcept;
// Async-signal-safe. Whether it is in the executable.
bool in_program(std::uintptr_t pc) noexcept;

// Async-signal-safe. Whether a function begins there that does nothing but read and write the
// memory that it is given (memcpy and the like): it holds no lock, and calls nobody.
bool is_pure_function(std::uintptr_t begin) noexcept;

}  // namespace smarm
