#include "runtime/fault/culprit.hpp"

#include "runtime/fault/text.hpp"
#include "runtime/sched/blocking_job.hpp"
#include "runtime/sched/forked.hpp"
#include "runtime/sched/park.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <unistd.h>
#include <unwind.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace smarm {

namespace {

// relaxed: each is written before what it is asked for can be.
std::atomic<pid_t> own_process{0};
std::atomic<bool> host{false};

Actor* acting() {
  const Worker* w = current_worker();
  return w && w->in_runtime == 0 ? w->current.get() : nullptr;
}

std::uintptr_t place_of_call(const void* return_address) {
  return reinterpret_cast<std::uintptr_t>(return_address) - 1;
}

struct Walk {
  const void* innermost = nullptr;
  bool plugins_thread = false;
};

_Unwind_Reason_Code look_at_frame(_Unwind_Context* context, void* arg) {
  auto& walk = *static_cast<Walk*>(arg);
  const std::uintptr_t ip = _Unwind_GetIP(context);
  if (ip == 0) return _URC_END_OF_STACK;
  switch (text_at(ip - 1, true)) {
    case Text::user:
      if (in_system_library(ip - 1)) break;
      if (!walk.innermost) walk.innermost = reinterpret_cast<const void*>(ip);
      walk.plugins_thread = true;
      break;
    case Text::runtime: walk.plugins_thread = false; break;
    case Text::host:
      if (in_program(ip - 1)) walk.plugins_thread = false;
      break;
    case Text::unwinder: break;
  }
  return _URC_NO_REASON;
}

Walk walk_stack() {
  Walk walk;
  _Unwind_Backtrace(look_at_frame, &walk);
  return walk;
}

}  // namespace

void learn_process() {
  own_process.store(::getpid(), std::memory_order_relaxed);
  // Who forks before anything runs goes on in the child.
  ::pthread_atfork(nullptr, nullptr, [] {
    if (!forked_child.load(std::memory_order_relaxed))
      own_process.store(::getpid(), std::memory_order_relaxed);
  });
}

void become_host() { host.store(true, std::memory_order_relaxed); }

bool in_own_process() noexcept { return own_process.load(std::memory_order_relaxed) == ::getpid(); }
bool is_host() noexcept { return host.load(std::memory_order_relaxed) && in_own_process(); }

bool called_by_actor(const void* return_address) noexcept {
  if (!acting() || !in_own_process()) return false;
  const smarm_config& config = current_worker()->runtime.config();
  return text_at(place_of_call(return_address), config.fault_scope == SMARM_FAULTS_OF_PLUGINS) ==
         Text::user;
}

bool called_by_plugin(const void* return_address) noexcept {
  if (!is_host()) return false;
  const Text text = text_at(place_of_call(return_address), true);
  // Outside a section the runtime itself calls nothing of this: a plugin's function did, as its
  // last act.
  return text == Text::user || (text == Text::runtime && acting());
}

bool on_plugins_thread() noexcept {
  if (current_worker() || current_job() || ::gettid() == ::getpid()) return false;
  return walk_stack().plugins_thread;
}

const void* innermost_plugin_code() noexcept { return walk_stack().innermost; }

const char* image_of_code(const void* pc) noexcept {
  dl_find_object found{};
  if (_dl_find_object(const_cast<void*>(pc), &found) != 0) return "";
  return found.dlfo_link_map->l_name;
}

void describe_place(const void* pc, char* out, std::size_t size) {
  Dl_info found{};
  if (!::dladdr(pc, &found) || !found.dli_fname) {
    std::snprintf(out, size, "%p", pc);
    return;
  }
  const char* slash = std::strrchr(found.dli_fname, '/');
  const char* image = slash ? slash + 1 : found.dli_fname;
  const auto from = [pc](const void* base) {
    return static_cast<std::size_t>(static_cast<const char*>(pc) - static_cast<const char*>(base));
  };
  if (!found.dli_sname) {
    std::snprintf(out, size, "%s+0x%zx", image, from(found.dli_fbase));
    return;
  }
  int status = 0;
  char* plain = abi::__cxa_demangle(found.dli_sname, nullptr, nullptr, &status);
  std::snprintf(out, size, "%.96s+0x%zx (%s+0x%zx)", plain ? plain : found.dli_sname,
                from(found.dli_saddr), image, from(found.dli_fbase));
  std::free(plain);
}

}  // namespace smarm
