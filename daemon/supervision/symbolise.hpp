// Return addresses in words, by what the dynamic linker knows.
//
// Takes the loader's lock, so call it off the workers. A static or hidden function has no name
// here; its file and offset still tell `addr2line -e FILE OFFSET` the line.
#pragma once

#include <span>
#include <string>

namespace smarmd {

// One line per frame, innermost first: "#0 echo_main(smarm::plugin::Context&)+0x1a
// (echo.g1.so+0x52a)".
std::string symbolise(std::span<void* const> frames);

}  // namespace smarmd
