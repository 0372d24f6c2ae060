#include "runtime/context/unwind.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/sanitizer.hpp"

#include <pthread.h>
#include <unwind.h>
#if SMARM_ASAN
#include <sanitizer/lsan_interface.h>
#endif

#include <cstdlib>
#include <cstring>
#include <exception>

namespace smarm {

namespace {

struct ForcedUnwind {
  _Unwind_Exception header;  // first: the unwinder hands it back as this object
  void (*on_swallowed)(void*);
  void* arg;
};

void finished(_Unwind_Reason_Code, _Unwind_Exception* header) {
  auto* unwind = reinterpret_cast<ForcedUnwind*>(header);
  auto on_swallowed = unwind->on_swallowed;
  void* arg = unwind->arg;
  std::free(unwind);
  on_swallowed(arg);
}

_Unwind_Reason_Code go_on(int, _Unwind_Action actions, _Unwind_Exception_Class, _Unwind_Exception*,
                          _Unwind_Context*, void*) {
  // Every stack of ours has a base that catches, but a frame on the way may be one that nothing
  // gets past.
  if (actions & _UA_END_OF_STACK) std::terminate();
  return _URC_NO_REASON;
}

_Unwind_Reason_Code go_on_to_end(int, _Unwind_Action actions, _Unwind_Exception_Class,
                                 _Unwind_Exception*, _Unwind_Context*, void*) {
  if (actions & _UA_END_OF_STACK) ::pthread_exit(nullptr);
  return _URC_NO_REASON;
}

using Stop = decltype(go_on);

[[noreturn]] void unwind_with(Stop* stop, void (*on_swallowed)(void*), void* arg) {
  auto* unwind =
      static_cast<ForcedUnwind*>(std::aligned_alloc(alignof(ForcedUnwind), sizeof(ForcedUnwind)));
  SMARM_ASSERT(unwind);
#if SMARM_ASAN
  __lsan_ignore_object(unwind);  // lost with a stack that is abandoned half-way
#endif
  std::memset(static_cast<void*>(unwind), 0, sizeof *unwind);
  std::memcpy(&unwind->header.exception_class, "SMRMKILL", 8);
  unwind->header.exception_cleanup = finished;
  unwind->on_swallowed = on_swallowed;
  unwind->arg = arg;
  _Unwind_ForcedUnwind(&unwind->header, stop, nullptr);
  assert_failed("forced unwinding came back", __FILE__, __LINE__);
}

}  // namespace

void force_unwind(void (*on_swallowed)(void*), void* arg) { unwind_with(go_on, on_swallowed, arg); }

void unwind_thread(void (*cut_short)()) {
  unwind_with(
      go_on_to_end, [](void* f) { reinterpret_cast<void (*)()>(f)(); },
      reinterpret_cast<void*>(cut_short));
}

}  // namespace smarm
