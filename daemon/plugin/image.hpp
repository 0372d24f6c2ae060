// One loaded generation of a plugin.
//
// dlopen and dlclose run the plugin's static constructors and destructors: call open() and unload()
// on a thread that is not a worker, and probe the file first.
//
// Invariants
//  1. The code stays mapped for as long as the Image lives, and after it: the destructor never
//  unmaps. Only unload() does, and only its caller can know that no actor, timer,
//     closure, message or exception can still reach the code.
//  2. The plugin's `operator new` is the executable's, so its allocations are safe-points and its
//  memory may be freed by the daemon.
#pragma once

#include <smarm/plugin.hpp>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace smarmd::plugin {

class Image {
 public:
  using Main = void (*)(smarm::plugin::Context&);
  struct TextRange {
    std::uintptr_t begin, end;
  };

  // `file`: a private copy that nobody writes to. The error is one line without its name.
  [[nodiscard]] static std::expected<std::unique_ptr<Image>, std::string> open(
      const std::filesystem::path& file);
  ~Image();
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  Main main() const { return main_; }
  const std::filesystem::path& path() const { return path_; }
  // The executable segments, as mapped: what counts as this plugin's text.
  const std::vector<TextRange>& text() const { return text_; }
  bool contains(std::uintptr_t pc) const;

  enum class Unloaded {
    unmapped,  // gone: the file may be removed
    resident,  // the loader keeps it (unique symbols, a thread_local with a destructor, -z
               // nodelete); its code stays valid
  };
  // REQUIRES: nothing can reach the code any more. Ends the image: main() is not to be used again.
  [[nodiscard]] static Unloaded unload(std::unique_ptr<Image> image);

 private:
  Image(void* handle, Main main, std::filesystem::path path);

  void* handle_;
  Main main_;
  std::filesystem::path path_;
  std::vector<TextRange> text_;
};

}  // namespace smarmd::plugin
