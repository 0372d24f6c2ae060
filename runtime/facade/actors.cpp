// smarm.h: actors.

#include "runtime/actor/exit_record.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/facade/fill_struct.hpp"
#include "runtime/sched/accounts.hpp"
#include "runtime/sched/actor_main.hpp"
#include "runtime/sched/blocks.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/preempt.hpp"
#include "runtime/sched/timers.hpp"
#include "runtime/supervision/registry.hpp"

#include <smarm/smarm.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <string>

using namespace smarm;

namespace {

// After the section: a killed wait unwinds here, on the actor's own stack, outside the runtime.
int finish(int status) {
  if (status == kKilled) unwind_self();
  return status;
}

Actor* block_of(smarm_actor* handle) { return reinterpret_cast<Actor*>(handle); }
const Actor* block_of(const smarm_actor* handle) { return reinterpret_cast<const Actor*>(handle); }

int spawn_with_options(Worker& w, const smarm_spawn_options& o, SpawnRequest request,
                       Actor*& made) {
  if (o.flags & SMARM_SPAWN_UNDER) request.supervisor = o.supervisor;
  if (o.flags & SMARM_SPAWN_GROUP) request.group = o.group;
  if (o.stack_size) request.stack_class = stack_class_of(o.stack_size);
  made = make_actor(w, request);
  if (!made) return SMARM_E_LIMIT;
  // Before anybody else may run it, and end it.
  if (o.name) {
    // Filled before it is seen: smarm_actor_list may look at the actor already.
    if (auto* extras = new (std::nothrow) ActorExtras) {
      extras->name.assign(o.name, strnlen(o.name, sizeof(smarm_actor_info::name) - 1));
      made->extras.store(extras, std::memory_order_release);
    }
  }
  if (o.deadline_ns > 0) arm_deadline(*made, o.deadline_ns);
  w.enqueue_fresh(made);
  return SMARM_OK;
}

template <class F>
std::size_t for_each_actor(F f) {
  ActorTable& table = ActorTable::instance();
  std::size_t n = 0;
  for (std::uint32_t i = 1, end = table.end(); i < end; ++i) {
    Actor* a = table.find(i);
    if (!a) continue;
    const ActorState s = state_word::state(a->word.load(std::memory_order_acquire));
    if (s == ActorState::free || s == ActorState::done) continue;
    n += f(*a, s);
  }
  return n;
}

const char* state_name(ActorState s) {
  switch (s) {
    case ActorState::active: return "runnable";
    case ActorState::parked: return "parked";
    case ActorState::waiting: return "waiting";
    default: return "ended";
  }
}

}  // namespace

extern "C" {

int smarm_spawn(const smarm_spawn_options* options, smarm_entry entry, void* closure,
                smarm_actor** handle, smarm_pid* pid) {
  Worker* w = current_worker();
  if (!w || !w->current) return not_an_actor();
  tick();
  Section section(w);
  Actor& self = *w->current;
  SpawnRequest request{entry, closure, self.pid(), self.group.load(std::memory_order_relaxed),
                       w->stack_class};
  Actor* made = nullptr;
  if (!options) [[likely]] {
    made = spawn_on(*w, request);
    if (!made) return SMARM_E_LIMIT;
  } else if (int status = spawn_with_options(*w, *options, request, made)) {
    return status;
  }
  if (pid) *pid = made->pid();
  if (handle) {
    *handle = reinterpret_cast<smarm_actor*>(made);
  } else {
    detach_actor(*made);
  }
  return SMARM_OK;
}

int smarm_join(smarm_actor* handle, smarm_exit** exit) {
  int status;
  {
    Worker* w = current_worker();
    if (!w || !w->current) return not_an_actor();
    Section section(w);
    status = kill_pending(*w->current) ? kKilled : join_actor(*w->current, *block_of(handle), exit);
  }
  return finish(status);
}

void smarm_detach(smarm_actor* handle) {
  Section section(current_worker());
  detach_actor(*block_of(handle));
}

smarm_pid smarm_actor_pid(const smarm_actor* handle) { return block_of(handle)->pid(); }

smarm_pid smarm_self(void) {
  const Actor* a = current_actor();
  return a ? a->pid() : smarm_pid{};
}

int smarm_yield(void) {
  Worker* w = current_worker();
  if (!w || !w->current) return not_an_actor();
  Actor& self = *w->current;
  ++w->in_runtime;
  yield_current_actor(*w);
  --current_worker()->in_runtime;
  if (kill_pending(self)) [[unlikely]]
    unwind_self();
  return SMARM_OK;
}

int smarm_park(void) {
  int status;
  {
    Worker* w = current_worker();
    if (!w || !w->current) return not_an_actor();
    Section section(w);
    status = park_current_actor(*w->current);
  }
  return finish(status);
}

int smarm_sleep(int64_t ns) {
  int status;
  {
    Worker* w = current_worker();
    if (!w || !w->current) return not_an_actor();
    Section section(w);
    status = kill_pending(*w->current) ? kKilled : sleep_current_actor(*w->current, ns);
  }
  return finish(status);
}

int smarm_unpark(smarm_pid pid) {
  int status;
  {
    Section section(current_worker());
    status = unpark_pid(pid);
  }
  tick();
  return status;
}

int smarm_actor_alive(smarm_pid pid) {
  const Actor* a = ActorTable::instance().find(pid.index);
  if (!a) return 0;
  const std::uint64_t word = a->word.load(std::memory_order_acquire);
  const ActorState s = state_word::state(word);
  return state_word::generation(word) == pid.generation && s != ActorState::done &&
         s != ActorState::free;
}

int smarm_kill(smarm_pid pid) {
  Section section(current_worker());
  return kill_pid(pid);
}

int smarm_stop(smarm_pid pid) {
  Section section(current_worker());
  return stop_pid(pid);
}

int smarm_stop_requested(void) {
  const Actor* a = current_actor();
  return a && (a->word.load(std::memory_order_acquire) & state_word::kStop);
}

smarm_channel* smarm_stop_channel(void) {
  Worker* w = current_worker();
  if (!w || !w->current) return nullptr;
  Section section(w);
  return make_stop_channel(*w->current);
}

void smarm_check(void) {
  if (safe_point()) unwind_self();
}

void smarm_tick(void) { tick(); }
void smarm_no_preempt_enter(void) { no_preempt_enter(); }
void smarm_no_preempt_leave(void) { no_preempt_leave(); }

uint64_t smarm_group(void) {
  const Actor* a = current_actor();
  return a ? a->group.load(std::memory_order_relaxed) : 0;
}

size_t smarm_group_count(uint64_t group) {
  return for_each_actor(
      [&](const Actor& a, ActorState) { return a.group.load(std::memory_order_relaxed) == group; });
}

size_t smarm_group_kill(uint64_t group, smarm_pid spare) {
  Section section(current_worker());
  return for_each_actor([&](const Actor& a, ActorState) {
    const std::uint64_t word = a.word.load(std::memory_order_acquire);
    const smarm_pid pid{a.index, state_word::generation(word)};
    if (a.group.load(std::memory_order_acquire) != group || !state_word::alive(word) ||
        (pid.index == spare.index && pid.generation == spare.generation))
      return false;
    // The word again: the group was that life's.
    if (!state_word::alive(a.word.load(std::memory_order_acquire), pid.generation)) return false;
    return kill_pid(pid) == SMARM_OK;
  });
}

size_t smarm_actor_list(smarm_actor_info* out, size_t capacity) {
  std::size_t written = 0;
  return for_each_actor([&](Actor& a, ActorState s) {
    if (written == capacity) return true;
    smarm_actor_info& info = out[written++];
    info = {};
    info.pid = a.pid();
    info.supervisor = a.supervisor.load(std::memory_order_relaxed);
    info.group = a.group.load(std::memory_order_relaxed);
    info.state = state_name(s);
    {
      std::lock_guard reading(extras_lock());
      if (const ActorExtras* extras = a.extras.load(std::memory_order_acquire))
        extras->name.copy(info.name, sizeof info.name - 1);
    }
    info.where =
        s == ActorState::active ? "" : wait_kind_name(a.waits_for.load(std::memory_order_relaxed));
    return true;
  });
}

int smarm_actor_read(smarm_pid pid, smarm_actor_stats* out) {
  const Actor* a = ActorTable::instance().find(pid);
  if (!a) return SMARM_E_STALE;
  const smarm_actor_stats all{sizeof all, 0, a->preempted_alloc.load(std::memory_order_relaxed),
                              a->preempted_async.load(std::memory_order_relaxed)};
  // The word again: the counts were that life's.
  if (!state_word::alive(a->word.load(std::memory_order_acquire), pid.generation))
    return SMARM_E_STALE;
  fill_struct(*out, all);
  return SMARM_OK;
}

int smarm_group_bind(uint64_t group, uint64_t account) {
  Section section(current_worker());
  if (bind_group(group, account)) return SMARM_OK;
  set_last_error("out of memory for an account of actors");
  return SMARM_E_LIMIT;
}

int smarm_account_read(uint64_t account, smarm_account_stats* out) {
  Section section(current_worker());
  const Account* a = find_account(account);
  if (!a) return SMARM_E_STALE;
  fill_struct(
      *out, smarm_account_stats{sizeof *out, 0, a->preempted_alloc.load(std::memory_order_relaxed),
                                a->preempted_async.load(std::memory_order_relaxed),
                                a->mailbox_limit.load(std::memory_order_relaxed),
                                a->mailbox_refused.load(std::memory_order_relaxed),
                                a->blocked.load(std::memory_order_relaxed)});
  return SMARM_OK;
}

void smarm_account_close(uint64_t account) {
  Section section(current_worker());
  close_account(account);
}

int smarm_register_supervisor(smarm_pid pid, smarm_channel* mailbox) {
  Section section(current_worker());
  return register_supervisor(pid, mailbox);
}

void* smarm_block_alloc(size_t size) { return alloc_block(size); }
void smarm_block_free(void* block, size_t size) { free_block(block, size); }

smarm_timer* smarm_timer_start(int64_t after_ns, void (*fire)(void*), void* arg) {
  Worker* w = current_worker();
  if (!w || !w->current) return nullptr;
  Section section(w);
  return start_timer(*w, after_ns, fire, arg);
}
int smarm_timer_cancel(smarm_timer* t) {
  Section section(current_worker());
  return cancel_timer(t);
}
void smarm_timer_detach(smarm_timer* t) {
  Section section(current_worker());
  detach_timer(t);
}

}  // extern "C"
