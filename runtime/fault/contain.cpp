#include "runtime/fault/contain.hpp"

#include "runtime/base/sanitizer.hpp"
#include "runtime/context/unwind.hpp"
#include "runtime/fault/abort.hpp"
#include "runtime/fault/culprit.hpp"
#include "runtime/fault/notice.hpp"
#include "runtime/fault/report.hpp"
#include "runtime/fault/text.hpp"
#include "runtime/sched/blocking_job.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>

namespace smarm {

namespace {

thread_local constinit bool ending = false;

// Its destructors run. Where the unwinding meets a handler that keeps it, or a frame that lets
// nothing through, the thread ends at once; pthread_exit would end the process there. libc's own
// end of a thread comes last: it destroys thread_locals and frees the stack.
[[noreturn]] void end_thread(bool unwind) {
  ending = true;
  if (unwind) unwind_thread(end_thread_at_once);
  end_thread_at_once();
}

bool is_plugins_job(const BlockingJob& job) {
  return text_at(reinterpret_cast<std::uintptr_t>(job.fn), true) == Text::user;
}

}  // namespace

bool thread_is_ending() noexcept { return ending; }

void end_thread_at_once() noexcept {
  for (;;) ::syscall(SYS_exit, 0);
}

void contain(const char* did, const void* culprit, bool unwind) {
  if (SMARM_ASAN || SMARM_TSAN || !is_host()) return;
  if (ending) end_thread_at_once();
  char place[192], text[512];
  describe_place(static_cast<const char*>(culprit) - 1, place, sizeof place);
  if (BlockingJob* job = current_job(); job && is_plugins_job(*job)) {
    std::snprintf(text, sizeof text, "%s in %s, in a job of block_on_io", did, place);
    fail_job(*job, text);
  }
  if (on_plugins_thread()) {
    std::snprintf(text, sizeof text,
                  "a thread of its own %s in %s; that thread was ended, what it had locked stays "
                  "locked",
                  did, place);
    tell(SMARM_NOTICE_ENDED, culprit, "", text);
    end_thread(unwind);
  }
  std::snprintf(text, sizeof text, "%s in %s, on a thread of the host", did, place);
  report_end(text, culprit);
  abort_process();
}

}  // namespace smarm
