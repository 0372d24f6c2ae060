// smarm.h: channels, mutexes, coroutines, tracing.

#include "runtime/base/clock.hpp"
#include "runtime/base/last_error.hpp"
#include "runtime/sched/accounts.hpp"
#include "runtime/sched/blocks.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/preempt.hpp"
#include "runtime/sync/backlog.hpp"
#include "runtime/sync/channel.hpp"
#include "runtime/sync/coroutine.hpp"
#include "runtime/sync/mutex.hpp"
#include "runtime/trace/ring.hpp"

#include <smarm/smarm.h>

#include <new>

using namespace smarm;

namespace {

int finish(int status) {
  if (status == kKilled) unwind_self();
  return status;
}

}  // namespace

extern "C" {

// ---- channels ----

smarm_channel* smarm_channel_create(size_t capacity, smarm_drop drop) {
  Section section(current_worker());
  void* memory = alloc_block(sizeof(smarm_channel));
  if (!memory) return nullptr;
  const Worker* w = current_worker();
  const Actor* maker = current_actor();
  auto* c = new (memory) smarm_channel(w && capacity == 0 ? w->exclusive.get() : nullptr, drop,
                                       maker ? maker->group.load(std::memory_order_relaxed) : 0);
  if (capacity == 0) return c;
  c->places = new (std::nothrow) Places(capacity);
  if (c->places) return c;
  free_block(c, sizeof *c);
  return nullptr;
}

void smarm_channel_add_sender(smarm_channel* c) { add_sender(*c); }

void smarm_channel_drop_sender(smarm_channel* c) {
  Section section(current_worker());
  drop_sender(*c);
}
void smarm_channel_drop_receiver(smarm_channel* c) {
  Section section(current_worker());
  drop_receiver(*c);
}

void* smarm_message_alloc(size_t size) { return alloc_message(size); }
void smarm_message_free(void* message) { free_message(message); }

int smarm_channel_send(smarm_channel* c, void* message) {
  int status;
  if (!c->places) [[likely]] {
    status = send_message(*c, message);
  } else {
    Section section(current_worker());
    const Actor* self = current_actor();
    status = self && kill_pending(*self) ? kKilled : send_message(*c, message);
  }
  if (far_ahead(*c)) [[unlikely]] {
    look_at_next_message(*c);
    give_way();
  } else {
    tick();
  }
  return finish(status);
}

int smarm_channel_recv(smarm_channel* c, int64_t timeout_ns, void** message) {
  Worker* w = current_worker();
  if (!w || !w->current) return not_an_actor();
  Actor& self = *w->current;
  const int status = kill_pending(self) ? kKilled : receive_message(*c, self, timeout_ns, message);
  tick();
  return finish(status);
}

int smarm_channel_try_recv(smarm_channel* c, void** message) {
  const int status = try_receive_message(*c, message);
  tick();
  return status;
}

size_t smarm_channel_len(const smarm_channel* c) { return channel_length(*c); }

int smarm_channel_select(smarm_channel* const* receivers, size_t n, int64_t timeout_ns) {
  int status;
  {
    Worker* w = current_worker();
    if (!w || !w->current) return not_an_actor();
    Section section(w);
    status = kill_pending(*w->current) ? kKilled : select_channels(receivers, n, timeout_ns);
  }
  return finish(status);
}

// ---- mailboxes ----

void smarm_mailbox_watch(smarm_mailbox_notice notice, void* arg) {
  Section section(current_worker());
  watch_mailboxes(notice, arg);
}

void smarm_mailbox_warn_at(uint64_t messages) { set_mailbox_warning(messages); }

int smarm_account_limit_mailboxes(uint64_t account, uint64_t messages) {
  Section section(current_worker());
  Account* a = find_or_make_account(account);
  if (!a) {
    set_last_error("out of memory for an account of actors");
    return SMARM_E_LIMIT;
  }
  a->mailbox_limit.store(messages, std::memory_order_relaxed);
  return SMARM_OK;
}

size_t smarm_mailbox_list(smarm_mailbox_info* out, size_t capacity) {
  Section section(current_worker());
  return list_mailboxes(out, capacity);
}

// ---- mutex ----

int smarm_mutex_try_lock(smarm_mutex* m) {
  return MutexCore::of(*m).try_lock() ? SMARM_OK : SMARM_E_TIMEOUT;
}

int smarm_mutex_lock(smarm_mutex* m, int64_t timeout_ns) {
  int status;
  {
    Worker* w = current_worker();
    if (!w || !w->current) return not_an_actor();
    Section section(w);
    status = kill_pending(*w->current) ? kKilled : MutexCore::of(*m).lock(timeout_ns);
  }
  return finish(status);
}

void smarm_mutex_unlock(smarm_mutex* m) {
  Section section(current_worker());
  MutexCore::of(*m).unlock();
}

// ---- coroutines: the body is user code, so no section around it ----

smarm_coroutine* smarm_coroutine_create(void (*body)(void*, smarm_coroutine*), void* arg) {
  return create_coroutine(body, arg);
}
int smarm_coroutine_resume(smarm_coroutine* c) { return finish(resume_coroutine(*c)); }
void smarm_coroutine_suspend(smarm_coroutine* c) { suspend_coroutine(*c); }
void smarm_coroutine_destroy(smarm_coroutine* c) { destroy_coroutine(c); }

// ---- trace ----

void smarm_trace_enable(int on) { __atomic_store_n(&smarm_trace_on, on, __ATOMIC_RELAXED); }

void smarm_trace_record(const char* name, uint64_t a, uint64_t b) {
  Worker* w = current_worker();
  smarm_trace_event event{};
  event.tsc = read_tsc();
  event.worker = w ? w->index : UINT32_MAX;
  event.pid = w && w->current ? w->current->pid() : smarm_pid{};
  event.name = name;
  event.a = a;
  event.b = b;
  Section section(w);
  TraceRegistry::instance().record(w ? w->trace_ring : 0, event);
}

size_t smarm_trace_read(smarm_trace_event* out, size_t capacity) {
  Section section(current_worker());
  return TraceRegistry::instance().read(out, capacity);
}
uint64_t smarm_trace_dropped(void) { return TraceRegistry::instance().lost(); }

}  // extern "C"
