#include "runtime/sched/blocking_job.hpp"

#include "runtime/context/eh_state.hpp"

#include <cstdio>

namespace smarm {

namespace {
thread_local constinit BlockingJob* job_of_thread = nullptr;
}

BlockingJob* current_job() { return job_of_thread; }

void fail_job(BlockingJob& job, const char* text) {
  std::snprintf(job.failure.text, sizeof job.failure.text, "%s", text);
  job.failure.failed = true;
  ::longjmp(job.back, 1);
}

// Nothing of this frame changes between the two returns of setjmp.
[[gnu::noinline]] void run_job(void (*fn)(void*), void* arg, JobFailure& failure) {
  BlockingJob job{fn, failure, {}};
  if (_setjmp(job.back) == 0) {
    job_of_thread = &job;
    fn(arg);
  } else {
    *thread_eh_state() = {};  // what it was handling is lost
  }
  job_of_thread = nullptr;
}

}  // namespace smarm
