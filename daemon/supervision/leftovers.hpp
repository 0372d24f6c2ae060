// What a plugin may have left behind that nobody can see, by what its image imports.
//
// An image may be unmapped only when nothing can reach its code any more. That no actor of it is
// left can be counted; a pending timer whose function lies in the image, a thread of its own or a
// signal handler cannot. So an image that imports the means to leave such a thing stays mapped.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace smarmd {

// Why the image must stay mapped although no actor of it is left; nullopt when it may go. Reads the
// file: blocks.
std::optional<std::string> reason_to_stay_mapped(const std::filesystem::path& image);

}  // namespace smarmd
