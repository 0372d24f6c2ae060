// A job of block_on_io as the thread that runs it sees it, so that what must not go on there can
// fail: the job is left at once, without unwinding, and the actor that waits for it fails in its
// place.
#pragma once

#include <setjmp.h>

namespace smarm {

// On the stack of the actor that waits.
struct JobFailure {
  bool failed = false;
  char text[224] = {};
};

struct BlockingJob {
  void (*const fn)(void*);
  JobFailure& failure;
  jmp_buf back;
};

// nullptr on a thread that runs none.
BlockingJob* current_job();
// Leaves the calling thread's job. Its objects are lost, and what it has locked stays locked.
[[noreturn]] void fail_job(BlockingJob& job, const char* text);
// Runs fn(arg), which may fail_job().
void run_job(void (*fn)(void*), void* arg, JobFailure& failure);

}  // namespace smarm
