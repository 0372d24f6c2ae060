// Return addresses in words: function, source file and line, and what was inlined there.
//
// In two steps, for the image may be gone when the words are made: where an address lies is noted
// at once, by whoever has it; the file is read later, on a thread that may take its time.
#pragma once

#include "daemon/log/late_text.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace smarmd {

// An address by the file that it is mapped from.
struct CodePlace {
  std::uintptr_t address = 0;
  std::uintptr_t in_file = 0;  // by the file's own addresses
  std::string file{};          // empty: none is known
  std::string image{};         // what to call the file
  std::string build{};         // its build's identity; empty: it has none
};

// [any, actors too] The places of return addresses, innermost first; takes no lock. Where a plugin
// is among the callers, what called the outermost of its functions, the runtime, is left out.
std::vector<CodePlace> places_of(std::span<void* const> frames);

// [threads] One line per function, innermost first, each as far as the file still says it:
//   #0 divide(int, int) at /src/echo.cpp:12 (inlined)
//   #1 echo_main(smarm::plugin::Context&) at /src/echo.cpp:40 (echo.g1.so+0x52a)
//   #2 helper()+0x1a (libhelp.so.1+0x1b2c)
//   #3 other.so+0x1f0
std::string symbolise(std::span<const CodePlace> places);

// [any, actors too] Both: whoever reads it makes the words, which is the log thread, as a rule.
// Nobody else waits for them.
LateText in_words(std::span<void* const> frames);

}  // namespace smarmd
