#include "runtime/fault/report.hpp"

#include "runtime/sched/worker.hpp"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <unistd.h>
#include <unwind.h>

#include <charconv>
#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>

namespace smarm {

namespace {

// One line at a time, cut where it is too long.
class Line {
 public:
  Line() = default;
  ~Line() {
    text_[size_++] = '\n';
    static_cast<void>(!::write(STDERR_FILENO, text_, size_));
  }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  Line& operator<<(std::string_view s) {
    for (char c : s) {
      if (size_ < sizeof text_ - 1) text_[size_++] = c;
    }
    return *this;
  }
  Line& operator<<(std::uint64_t n) { return number(n, 10); }
  Line& hex(std::uint64_t n) { return (*this << "0x").number(n, 16); }

 private:
  Line& number(std::uint64_t n, int base) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, n, base).ptr;
    return *this << std::string_view(digits, static_cast<std::size_t>(end - digits));
  }
  char text_[512];
  std::size_t size_ = 0;
};

// "0x55..1234 (image+0x1234)"; the image's name, not its whole path.
void put_code(Line& line, std::uintptr_t pc) {
  line.hex(pc);
  dl_find_object found{};
  if (_dl_find_object(reinterpret_cast<void*>(pc), &found) != 0) return;
  std::string_view image = found.dlfo_link_map->l_name;
  if (image.empty()) image = "program";
  line << " (" << image.substr(image.rfind('/') + 1) << "+";
  line.hex(pc - found.dlfo_link_map->l_addr) << ")";
}

struct Frames {
  std::uintptr_t from;  // the first that is shown; 0: all
  unsigned shown = 0;
};

_Unwind_Reason_Code put_frame(_Unwind_Context* context, void* arg) {
  auto& frames = *static_cast<Frames*>(arg);
  const std::uintptr_t ip = _Unwind_GetIP(context);
  if (frames.from && ip != frames.from) return _URC_NO_REASON;
  frames.from = 0;
  Line line;
  line << "  #" << std::uint64_t{frames.shown} << " ";
  put_code(line, ip);
  return ++frames.shown < 64 ? _URC_NO_REASON : _URC_END_OF_STACK;
}

void put_registers(const ucontext_t& context) {
  struct Named {
    const char* name;
    int index;
  };
  constexpr Named kAll[] = {{"rax", REG_RAX}, {"rbx", REG_RBX}, {"rcx", REG_RCX}, {"rdx", REG_RDX},
                            {"rsi", REG_RSI}, {"rdi", REG_RDI}, {"rbp", REG_RBP}, {"rsp", REG_RSP},
                            {"r8", REG_R8},   {"r9", REG_R9},   {"r10", REG_R10}, {"r11", REG_R11},
                            {"r12", REG_R12}, {"r13", REG_R13}, {"r14", REG_R14}, {"r15", REG_R15},
                            {"rip", REG_RIP}, {"efl", REG_EFL}, {"err", REG_ERR}, {"cr2", REG_CR2}};
  for (std::size_t i = 0; i < std::size(kAll); i += 4) {
    Line line;
    line << " ";
    for (const Named& r : std::span(kAll).subspan(i, 4)) {
      line << " " << r.name << " ";
      line.hex(static_cast<std::uint64_t>(context.uc_mcontext.gregs[r.index]));
    }
  }
}

void put_actor() {
  Line line;
  const Worker* w = current_worker();
  line << "  thread " << static_cast<std::uint64_t>(::gettid());
  if (!w) {
    line << ", no worker";
    return;
  }
  line << ", worker " << std::uint64_t{w->index};
  if (w->in_runtime) line << ", inside the runtime";
  const Actor* a = w->current;
  if (!a) {
    line << ", no actor";
    return;
  }
  const smarm_pid pid = a->pid();
  line << ", actor " << std::uint64_t{pid.index} << "." << std::uint64_t{pid.generation};
  if (const ActorExtras* extras = a->extras.load(std::memory_order_relaxed);
      extras && !extras->name.empty())
    line << " \"" << extras->name << "\"";
}

}  // namespace

void report_fault(int signal, const void* address, const void* pc, const ucontext_t* context) {
  {
    Line line;
    const char* name = ::sigabbrev_np(signal);
    line << "smarm: SIG" << (name ? name : "?") << ", address ";
    line.hex(reinterpret_cast<std::uintptr_t>(address)) << ", code ";
    put_code(line, reinterpret_cast<std::uintptr_t>(pc));
    line << ": the process ends";
  }
  put_actor();
  if (context) put_registers(*context);
  Frames frames{reinterpret_cast<std::uintptr_t>(pc)};
  _Unwind_Backtrace(put_frame, &frames);
}

}  // namespace smarm
