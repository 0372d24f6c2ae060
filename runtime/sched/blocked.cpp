#include "runtime/sched/blocked.hpp"

#include "runtime/context/red_zone.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

namespace smarm {

namespace {

// The beginning of a file of a thread; empty when it cannot be read.
template <std::size_t n>
const char* read_of(pid_t thread, const char* file, char (&text)[n]) {
  char path[48];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/%s", static_cast<int>(thread), file);
  text[0] = '\0';
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;  // it has ended, or nobody may look
  const ssize_t got = ::read(fd, text, n - 1);
  ::close(fd);
  text[got > 0 ? got : 0] = '\0';
  return text;
}

// Reads memory that may be gone.
bool copy_from(std::uintptr_t address, void* to, std::size_t bytes) {
  const iovec mine{to, bytes};
  const iovec theirs{reinterpret_cast<void*>(address), bytes};
  return ::process_vm_readv(::getpid(), &mine, 1, &theirs, 1, 0) == static_cast<ssize_t>(bytes);
}

// Does the instruction that ends there call? Direct: e8 and four bytes. Indirect: ff with 2 in the
// middle of its second byte, two to seven bytes long.
bool follows_call(std::uintptr_t address) {
  dl_find_object image{};
  if (_dl_find_object(reinterpret_cast<void*>(address), &image) != 0) return false;
  constexpr std::size_t kLongest = 7;
  std::array<std::uint8_t, kLongest> code;
  if (!copy_from(address - kLongest, code.data(), kLongest)) return false;
  if (code[kLongest - 5] == 0xe8) return true;
  for (std::size_t length = 2; length <= kLongest; ++length) {
    const std::uint8_t* at = &code[kLongest - length];
    if (at[0] != 0xff || (at[1] >> 3 & 7) != 2) continue;
    const unsigned mod = at[1] >> 6, rm = at[1] & 7;
    std::size_t expected = 2 + (rm == 4 && mod != 3 ? 1 : 0);
    if (mod == 1) expected += 1;
    if (mod == 2 || (mod == 0 && rm == 5)) expected += 4;
    if (expected == length) return true;
  }
  return false;
}

}  // namespace

bool is_running(pid_t thread) {
  char text[128];
  const char* name_end = std::strrchr(read_of(thread, "stat", text), ')');  // "id (name) state ..."
  return name_end && std::strncmp(name_end, ") R", 3) == 0;
}

// "number arguments sp pc", "-1 sp pc" outside a call, or "running".
bool sleeps_in_call(pid_t thread, SleepingCall& call) {
  char text[256];
  unsigned long sp = 0, pc = 0;
  if (std::sscanf(read_of(thread, "syscall", text), "%ld %*x %*x %*x %*x %*x %*x %lx %lx",
                  &call.number, &sp, &pc) != 3)
    return false;
  call.sp = sp;
  call.pc = pc;
  return call.number >= 0;
}

bool can_see_calls() {
  char text[256];
  return read_of(::gettid(), "syscall", text)[0] != '\0';
}

std::size_t trace_call(const SleepingCall& call, std::span<void*> frames) {
  if (frames.empty()) return 0;
  frames[0] = reinterpret_cast<void*>(call.pc);
  std::size_t n = 1;
  const Stack stack = stack_at(reinterpret_cast<const void*>(call.sp));
  if (!stack) return n;
  constexpr std::size_t kMost = std::size_t{32} * 1024;
  const std::size_t bytes =
      std::min(reinterpret_cast<std::uintptr_t>(stack.top()) - call.sp, kMost) / 8 * 8;
  const std::unique_ptr<std::uintptr_t[]> words(new (std::nothrow) std::uintptr_t[bytes / 8]);
  if (!words || !copy_from(call.sp, words.get(), bytes)) return n;
  for (std::size_t i = 0; i < bytes / 8 && n < frames.size(); ++i) {
    if (follows_call(words[i])) frames[n++] = reinterpret_cast<void*>(words[i]);
  }
  return n;
}

}  // namespace smarm
