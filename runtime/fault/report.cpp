#include "runtime/fault/report.hpp"

#include "runtime/fault/culprit.hpp"
#include "runtime/fault/signal_guard.hpp"
#include "runtime/fault/text.hpp"
#include "runtime/sched/running.hpp"
#include "runtime/sched/runtime_core.hpp"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

#include <atomic>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>

namespace smarm {

namespace {

// relaxed: set once, before there is anything to report.
std::atomic<const char*> prefix{""};

// One line at a time, cut where it is too long.
class Line {
 public:
  Line() { *this << prefix.load(std::memory_order_relaxed); }
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

// The image's name, not its whole path.
std::string_view image_name(std::uintptr_t pc) {
  dl_find_object found{};
  if (_dl_find_object(reinterpret_cast<void*>(pc), &found) != 0) return "?";
  const std::string_view image = found.dlfo_link_map->l_name;
  return image.empty() ? "program" : image.substr(image.rfind('/') + 1);
}

// "0x55..1234 (image+0x1234)".
void put_code(Line& line, std::uintptr_t pc) {
  line.hex(pc);
  dl_find_object found{};
  if (_dl_find_object(reinterpret_cast<void*>(pc), &found) != 0) return;
  line << " (" << image_name(pc) << "+";
  line.hex(pc - found.dlfo_link_map->l_addr) << ")";
}

struct Frames {
  std::uintptr_t from;  // the first that is shown; 0: all
  unsigned shown = 0;
  std::uintptr_t culprit = 0;  // the first that is neither the system's nor the host's
};

_Unwind_Reason_Code put_frame(_Unwind_Context* context, void* arg) {
  auto& frames = *static_cast<Frames*>(arg);
  const std::uintptr_t ip = _Unwind_GetIP(context);
  if (ip == 0) return _URC_END_OF_STACK;
  if (frames.from && ip != frames.from) return _URC_NO_REASON;
  frames.from = 0;
  if (!frames.culprit && text_at(ip - 1, is_host()) == Text::user && !in_system_library(ip - 1))
    frames.culprit = ip;
  Line line;
  line << "  #" << std::uint64_t{frames.shown} << " ";
  put_code(line, ip);
  return ++frames.shown < 64 ? _URC_NO_REASON : _URC_END_OF_STACK;
}

void put_backtrace(const void* pc) {
  Frames frames{reinterpret_cast<std::uintptr_t>(pc)};
  _Unwind_Backtrace(put_frame, &frames);
  if (frames.culprit)
    Line() << "  the innermost code of its own is in " << image_name(frames.culprit);
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

Line& put_pid(Line& line, const Actor& a) {
  const smarm_pid pid = a.pid();
  line << "actor " << std::uint64_t{pid.index} << "." << std::uint64_t{pid.generation};
  if (const ActorExtras* extras = a.extras.load(std::memory_order_relaxed);
      extras && !extras->name.empty())
    line << " \"" << extras->name << "\"";
  if (const std::uint64_t group = a.group.load(std::memory_order_relaxed))
    line << ", group " << group;
  return line;
}

void put_thread() {
  Line line;
  const Worker* w = current_worker();
  line << "  thread " << static_cast<std::uint64_t>(::gettid());
  if (!w) {
    line << ", no worker";
    return;
  }
  line << ", worker " << std::uint64_t{w->index};
  if (w->in_runtime) line << ", inside the runtime";
  if (w->current) {
    put_pid(line << ", ", *w->current);
  } else {
    line << ", no actor";
  }
}

// ---- the others ----

constexpr std::uint64_t kPatience = 200'000'000;  // ns, for each
constexpr int kActorsNamed = 32;

// Who is to tell, and who has told all it knows. release / acquire: its lines come before the next
// one's.
std::atomic<pid_t> asked{0}, answered{0};

// On a worker, in the middle of anything. The monitor may have sent the signal before the report
// began: to somebody else, or to the reporter itself.
void answer(int, siginfo_t*, void* context) {
  if (asked.load(std::memory_order_acquire) != ::gettid()) return;
  const Worker* w = current_worker();
  const auto* at = static_cast<const ucontext_t*>(context);
  if (w && w->current) {
    Line() << "smarm: meanwhile";
    put_thread();
    put_backtrace(reinterpret_cast<const void*>(at->uc_mcontext.gregs[REG_RIP]));
  }
  answered.store(::gettid(), std::memory_order_release);
  while (w) ::pause();
}

void ask(pid_t thread, std::uint32_t worker) {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto ns = [&now] {
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(now.tv_nsec);
  };
  const std::uint64_t until = ns() + kPatience;
  asked.store(thread, std::memory_order_release);
  if (::tgkill(::getpid(), thread, SIGURG) != 0) return;  // it has ended
  while (answered.load(std::memory_order_acquire) != thread) {
    const timespec nap{0, 500'000};
    ::nanosleep(&nap, nullptr);
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    if (ns() < until) continue;
    Line() << "smarm: worker " << std::uint64_t{worker} << ", thread "
           << static_cast<std::uint64_t>(thread) << ", does not answer";
    return;
  }
}

void put_workers() {
  struct sigaction action{};
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  if (set_action(SIGURG, &action, nullptr) != 0) return;
  for (auto& place : running_runtimes) {
    RuntimeCore* runtime = place.load(std::memory_order_acquire);
    if (!runtime) continue;
    for (const auto& w : runtime->workers()) {
      const pid_t thread = w->thread.load(std::memory_order_relaxed);
      if (thread != 0 && thread != ::gettid() && !w->resting.load(std::memory_order_relaxed))
        ask(thread, w->index);
    }
  }
}

// Runnable ones are those above and those on queues.
void put_waiting() {
  const ActorTable& table = ActorTable::instance();
  std::uint64_t named = 0, more = 0;
  for (std::uint32_t i = 1, end = table.end(); i < end; ++i) {
    const Actor* a = table.find(i);
    if (!a) continue;
    const ActorState s = state_word::state(a->word.load(std::memory_order_acquire));
    if (s != ActorState::parked && s != ActorState::waiting) continue;
    if (named == kActorsNamed) {
      ++more;
      continue;
    }
    ++named;
    Line line;
    put_pid(line << "smarm: waiting: ", *a)
        << ", " << wait_kind_name(a->waits_for.load(std::memory_order_relaxed));
  }
  if (more) Line() << "smarm: waiting: " << more << " more actors";
}

// False: this thread reports already.
bool begin_report() {
  static std::atomic<pid_t> reporter{0};
  pid_t nobody = 0;
  if (reporter.compare_exchange_strong(nobody, ::gettid(), std::memory_order_relaxed)) {
    process_reports.store(true, std::memory_order_relaxed);
    return true;
  }
  while (nobody != ::gettid()) ::pause();
  return false;
}

void put_rest(const void* pc, const ucontext_t* context) {
  put_thread();
  if (context) put_registers(*context);
  put_backtrace(pc);
  put_workers();
  put_waiting();
}

}  // namespace

void set_report_prefix(const char* p) { prefix.store(p, std::memory_order_relaxed); }

void report_fault(int signal, const void* address, const void* pc, const ucontext_t* context) {
  if (!begin_report()) return;
  {
    Line line;
    const char* name = ::sigabbrev_np(signal);
    line << "smarm: SIG" << (name ? name : "?") << ", address ";
    line.hex(reinterpret_cast<std::uintptr_t>(address)) << ", code ";
    put_code(line, reinterpret_cast<std::uintptr_t>(pc));
    line << ": the process ends";
  }
  put_rest(pc, context);
}

void report_end(const char* what, const void* pc) {
  if (!begin_report()) return;
  Line() << "smarm: " << what << ": the process ends";
  put_rest(pc, nullptr);
}

}  // namespace smarm
