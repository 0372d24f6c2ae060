#include "runtime/sync/coroutine.hpp"

#include "runtime/base/assert.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/context/red_zone.hpp"
#include "runtime/context/unwind.hpp"
#include "runtime/sched/blocks.hpp"
#include "runtime/sched/park.hpp"

#include <cxxabi.h>

#include <new>
#include <utility>

namespace smarm {

namespace {

using State = smarm_coroutine::State;

void unwinding_swallowed(void* arg) {
  auto* c = static_cast<smarm_coroutine*>(arg);
  if (!c->at_base)
    assert_failed("a generator body caught its unwinding and did not rethrow abi::__forced_unwind",
                  __FILE__, __LINE__);
}

// Not inlined into the base frame, which is never unwound.
[[gnu::noinline]] void run_body(smarm_coroutine& c) {
  try {
    c.entry(c.arg, &c);
  } catch (abi::__forced_unwind&) {
    c.at_base = true;
    Actor* self = current_actor();
    if (!c.unwinding &&
        self) {  // a kill: kill_swallowed must not take this catch for a swallowed one
      c.killed = true;
      self->relayed = true;
    }
  }
}

void* coroutine_main(void* arg) {
  auto& c = *static_cast<smarm_coroutine*>(arg);
#if SMARM_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &c.consumer.stack_bottom, &c.consumer.stack_size);
#endif
  run_body(c);
  c.state = State::ended;
  leave_context(c.consumer);
}

#if SMARM_ASAN || SMARM_TSAN
// A body may park its actor. The switch back to the actor then has to name the coroutine's stack to
// the sanitizer, not the actor's own.
class StackOfActor {
 public:
  explicit StackOfActor(const Context& on) {
    if (current_actor()) exchange(on, &own_);
  }
  ~StackOfActor() {
    if (current_actor()) exchange(own_, nullptr);
  }
  StackOfActor(const StackOfActor&) = delete;
  StackOfActor& operator=(const StackOfActor&) = delete;

 private:
  static void exchange(const Context& on, Context* before) {
    Context& actor = current_actor()->context;
    if (before) *before = actor;
#if SMARM_ASAN
    actor.stack_bottom = on.stack_bottom;
    actor.stack_size = on.stack_size;
#endif
#if SMARM_TSAN
    actor.fiber = on.fiber;
#endif
  }
  Context own_{};
};
#endif

void switch_to_body(smarm_coroutine& c) {
  c.state = State::running;
#if SMARM_ASAN || SMARM_TSAN
  const StackOfActor here(c.body);
#endif
#if SMARM_TSAN
  c.consumer.fiber = __tsan_get_current_fiber();
#endif
  EhState* thread = thread_eh_state();
  const EhState mine = *thread;
  *thread = c.eh;
  switch_context(c.consumer, c.body);
  thread = thread_eh_state();  // anew: the body may have moved its actor to another thread
  c.eh = *thread;
  *thread = mine;
}

void free_stack(smarm_coroutine& c) {
  if (!c.stack) return;
  Section section(current_worker());  // the pool allocates under its lock
  mend_guard(c.stack);
  StackPool::instance().release(&c.stack, 1);
  StackPool::instance().unreserve();
  c.stack = Stack{};
  forget_context(c.body);
}

}  // namespace

smarm_coroutine* create_coroutine(void (*entry)(void*, smarm_coroutine*), void* arg) {
  Section section(current_worker());
  StackPool& pool = StackPool::instance();
  if (!pool.reserve()) return nullptr;
  Stack stack;
  if (pool.acquire(stack_class_of(64 * 1024), &stack, 1) == 0) {
    pool.unreserve();
    return nullptr;
  }
  void* memory = alloc_block(sizeof(smarm_coroutine));
  if (!memory) {
    pool.release(&stack, 1);
    pool.unreserve();
    set_last_error("no memory for a generator");
    return nullptr;
  }
  auto* c = new (memory) smarm_coroutine;
  c->entry = entry;
  c->arg = arg;
  c->stack = stack;
  make_context(c->body, stack.bottom(), stack.top(), &coroutine_main, c);
  return c;
}

int resume_coroutine(smarm_coroutine& c) {
  if (c.state == State::ended) return 0;
  SMARM_ASSERT(c.state != State::running);
  switch_to_body(c);
  if (c.state != State::ended) return 1;
  free_stack(c);
  return c.killed ? kKilled : 0;
}

void suspend_coroutine(smarm_coroutine& c) {
  SMARM_ASSERT(c.state == State::running);
  c.state = State::suspended;
#if SMARM_ASAN
  __sanitizer_start_switch_fiber(&c.body.fake_stack, c.consumer.stack_bottom,
                                 c.consumer.stack_size);
#endif
#if SMARM_TSAN
  __tsan_switch_to_fiber(c.consumer.fiber, 0);
#endif
  smarm_switch(&c.body.sp, c.consumer.sp);
#if SMARM_ASAN
  __sanitizer_finish_switch_fiber(c.body.fake_stack, &c.consumer.stack_bottom,
                                  &c.consumer.stack_size);
#endif
  if (c.unwinding) force_unwind(unwinding_swallowed, &c);
}

void destroy_coroutine(smarm_coroutine* c) {
  if (c->state == State::suspended) {
    c->unwinding = true;
    switch_to_body(*c);
    SMARM_ASSERT(c->state == State::ended);
  }
  free_stack(*c);
  free_block(c, sizeof *c);
}

}  // namespace smarm
