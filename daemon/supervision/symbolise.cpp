#include "daemon/supervision/symbolise.hpp"

#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace smarmd {

namespace {

std::string hex(std::uintptr_t value) {
  char text[2 + 16 + 1];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> plain(
      abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  return plain ? plain.get() : name;
}

std::string frame_text(void* frame) {
  // A return address is the instruction after the call; the byte before it is inside the call and
  // so inside the right function.
  const auto pc = reinterpret_cast<std::uintptr_t>(frame) - 1;
  Dl_info info{};
  if (!frame || !::dladdr(reinterpret_cast<void*>(pc), &info) || !info.dli_fname)
    return hex(pc + 1);
  const std::string_view path = info.dli_fname;
  const std::string place = std::string(path.substr(path.rfind('/') + 1)) + "+" +
                            hex(pc + 1 - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
  if (!info.dli_sname) return place;
  return demangle(info.dli_sname) + "+" +
         hex(pc + 1 - reinterpret_cast<std::uintptr_t>(info.dli_saddr)) + " (" + place + ")";
}

}  // namespace

std::string symbolise(std::span<void* const> frames) {
  std::string text;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (i > 0) text += '\n';
    text += "#" + std::to_string(i) + " " + frame_text(frames[i]);
  }
  return text;
}

}  // namespace smarmd
