/* smarm.h: the C11 face of the runtime, and the one binary interface underneath every template.
 *
 * The non-template core: `smarm.hpp` and `plugin.hpp` are thin headers over these functions, and a
 * program in another language calls them directly. The daemon exports exactly these symbols to its
 * plugins.
 *
 * Threads: a function marked [actor] must be called by an actor and answers SMARM_E_NOT_ACTOR
 * elsewhere. [any] may be called from every thread. [parks] may park the calling actor (never the
 * OS thread): thread-local addresses and errno must not be carried across such a call, since the
 * actor may resume on another thread.
 *
 * Errors: 0 is success. A negative value is one of enum smarm_status, a positive value is an errno.
 * No C++ exception crosses this interface; a killed actor unwinds through it (forced unwinding, as
 * pthread_cancel does).
 *
 * Durations: int64_t nanoseconds; SMARM_FOREVER waits without limit.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define SMARM_ABI_MAJOR 1
#define SMARM_ABI_MINOR 0
#define SMARM_VERSION "0.1.0"
#define SMARM_FOREVER INT64_C(-1)

enum smarm_status {
  SMARM_OK = 0,
  SMARM_E_NOT_ACTOR = -1, /* the caller is not an actor */
  SMARM_E_CLOSED = -2,    /* the other end of the channel is gone */
  SMARM_E_TIMEOUT = -3,   /* the time ran out */
  SMARM_E_EMPTY = -4,     /* nothing to receive right now */
  SMARM_E_FULL = -5,      /* a bounded channel is full and the caller cannot park, or a mailbox has
                             reached its limit */
  SMARM_E_STALE = -6,     /* the pid names an actor that has ended */
  SMARM_E_LIMIT = -7,     /* a limit was reached; smarm_last_error() names it and the way out */
  SMARM_E_NESTED = -8,    /* run inside run */
  SMARM_E_DYING = -9      /* the actor is being unwound and may not wait any more */
};

/* A pid is an index into the actor table and the generation of that slot. {0, 0} is ROOT_PID, which
 * is never an actor. */
typedef struct smarm_pid {
  uint32_t index;
  uint32_t generation;
} smarm_pid;

typedef struct smarm_runtime smarm_runtime;
typedef struct smarm_actor smarm_actor; /* a join handle: keeps the control block, not the stack */
typedef struct smarm_exit smarm_exit;   /* why an actor ended, reference counted */
typedef struct smarm_channel smarm_channel; /* reference counted, untyped */
typedef struct smarm_timer smarm_timer;

/* What an actor runs. SMARM_RUN: take the closure over, then run it. SMARM_DROP: destroy it unrun.
 */
enum smarm_entry_op { SMARM_RUN = 0, SMARM_DROP = 1 };
typedef void (*smarm_entry)(void* closure, int op);

/* ---- runtime ---- */

enum smarm_io_backend { SMARM_IO_EPOLL = 0, SMARM_IO_URING = 1 };

/* What a SIGSEGV, SIGBUS, SIGFPE, SIGILL, abort() or exit() in an actor does. A panic unwinds the
 * actor; the rest ends the process with a report on stderr. A stack overflow is a panic in any
 * case. */
enum smarm_on_fault {
  SMARM_ON_FAULT_PANIC_SAFE = 0, /* accesses to the first 64 KiB, arithmetic, SIGILL, abort() and
                                    exit() are panics; a wild address ends the process */
  SMARM_ON_FAULT_PANIC = 1,      /* all of them are panics */
  SMARM_ON_FAULT_ABORT = 2       /* all of them end the process */
};
/* Whose code that is about. libc, the dynamic linker and the runtime are never unwound: a fault in
 * them ends the process. */
enum smarm_fault_scope {
  SMARM_FAULTS_OF_PROGRAM = 0, /* the program's own and all its libraries' */
  SMARM_FAULTS_OF_PLUGINS = 1  /* shared objects only: the program is a host, and a fault of its own
                                  ends the process; a call of address 0, whose caller cannot be
                                  told, is the actor's */
};

/* An actor that blocks its OS thread in a system call, where it should have called the runtime. An
 * extra worker takes the place of its own until the call returns. */
enum smarm_blocked_kind {
  SMARM_BLOCKED_ACTOR = 0,    /* that */
  SMARM_BLOCKED_NO_EXTRA = 1, /* there are 64 extra workers, or no thread is to be had: the others
                                 wait. Once a runtime; only struct_size and kind are set */
  SMARM_BLOCKED_UNSEEN = 2    /* /proc/self/task cannot be read, so none is found. Likewise */
};
typedef struct smarm_blocked {
  uint32_t struct_size;
  uint32_t kind;   /* enum smarm_blocked_kind */
  uint32_t worker; /* index */
  smarm_pid pid;
  uint64_t group;
  char name[32];       /* "" for none */
  int64_t system_call; /* its number */
  uint64_t blocked_ns; /* how long nothing has moved */
  /* Innermost first. All but the first are what the stack holds that looks like a return address: a
   * frame too many is possible. */
  void* const* frames;
  size_t frame_count;
} smarm_blocked;

/* An actor that ends by a panic (an exception, a fault, an overflow), for on_panic. */
typedef struct smarm_panic {
  uint32_t struct_size;
  uint32_t reserved;
  smarm_pid pid, supervisor;
  uint64_t group;
  char name[32]; /* "" for none */
  const smarm_exit* exit;
} smarm_panic;

typedef struct smarm_config {
  uint32_t struct_size; /* sizeof(smarm_config) of the caller: a shorter struct leaves the rest at
                           defaults */
  uint32_t workers;     /* 0: one per usable CPU (affinity mask and cgroup quota) */
  uint32_t alloc_interval;
  uint32_t io_backend;
  uint64_t timeslice_cycles;
  uint64_t stack_size; /* bytes of a slot, guard included; rounded up to a power of two, 16 KiB to
                          64 MiB */
  uint32_t blocking_threads;   /* limit of the block_on_io pool */
  uint16_t on_fault;           /* enum smarm_on_fault */
  uint16_t fault_scope;        /* enum smarm_fault_scope */
  uint64_t hibernate_after_ns; /* actors parked longer give their stacks' pages back; 0: never */
  uint64_t async_preempt_ns;   /* actors that run longer without a tick are preempted by signal; 0,
                                  the default: never */
  /* May be NULL. Called on a thread of the runtime's own, which must not be held up, when an actor
   * has blocked its thread for some 10 ms. What it is given is gone when it returns. */
  void (*on_blocked)(const smarm_blocked*, void* arg);
  void* on_blocked_arg;
  /* May be NULL. Called on the worker of an actor that ends by a panic, before its joiner and its
   * supervisor hear of it. It must not park; what it is given is gone when it returns. */
  void (*on_panic)(const smarm_panic*, void* arg);
  void* on_panic_arg;
} smarm_config;

typedef struct smarm_worker_stats {
  uint64_t resumes;         /* actors switched to */
  uint64_t parks;           /* waits that really left the stack */
  uint64_t yields;          /* explicit yields */
  uint64_t preempted_alloc; /* implicit yields at an allocation, another tick, a taken OS lock */
  uint64_t preempted_async; /* implicit yields by signal */
  uint64_t steals;          /* actors taken from another worker */
  uint64_t wakes;           /* other workers woken */
  uint64_t spawned, exited; /* actors made and ended here */
  uint64_t idle_ns;         /* time spent waiting for work */
  uint64_t timers_fired, polls; /* timers that ran out; looks at the poller */
  uint64_t hibernated, thawed;  /* stacks packed away here, and unpacked to run here */
} smarm_worker_stats;

void smarm_config_init(smarm_config* config);             /* [any] the defaults */
smarm_runtime* smarm_runtime_create(const smarm_config*); /* [any] NULL: see smarm_last_error() */
void smarm_runtime_destroy(smarm_runtime*);               /* [any] not while it runs */
/* [any, not an actor] Runs entry as the first actor; the calling thread is worker 0. Returns when
 * nothing is runnable and no timer, IO wait or blocking job is pending; what is then parked for
 * ever has been unwound. *exit: why the first actor failed, or NULL. */
int smarm_runtime_run(smarm_runtime*, smarm_entry entry, void* closure, smarm_exit** exit);
/* [any] Fills up to `capacity` snapshots, one per worker, and returns the number of workers, those
 * included that once were extra ones. NULL means the caller's runtime. */
size_t smarm_runtime_stats(smarm_runtime*, smarm_worker_stats* out, size_t capacity);
uint64_t smarm_runtime_live(smarm_runtime*); /* [any] actors spawned and not ended */

typedef struct smarm_crew_stats {
  uint32_t struct_size;   /* sizeof(smarm_crew_stats) of the caller */
  uint32_t workers;       /* that the runtime was made with: the first of smarm_runtime_stats */
  uint32_t extras;        /* extra workers that are running for blocked ones */
  uint32_t blocked;       /* workers whose thread is blocked now */
  uint64_t blocked_total; /* times that one was found blocked */
} smarm_crew_stats;
void smarm_runtime_crew(smarm_runtime*, smarm_crew_stats* out); /* [any] NULL as above */

/* The pool of threads that run the jobs of smarm_block_on. */
typedef struct smarm_blocking_stats {
  uint32_t struct_size; /* sizeof(smarm_blocking_stats) of the caller */
  uint32_t limit;       /* blocking_threads of the config */
  uint32_t threads;     /* that there are now; they come and go */
  uint32_t idle;        /* those that run no job */
  uint32_t running;     /* jobs that a thread runs */
  uint32_t queued;      /* jobs that wait for one */
  uint64_t done_total;  /* jobs that have ended */
} smarm_blocking_stats;
void smarm_runtime_blocking(smarm_runtime*, smarm_blocking_stats* out); /* [any] NULL as above */
typedef struct smarm_blocking_owner {
  uint64_t account; /* 0: actors whose group is bound to none */
  uint32_t running, queued;
  uint64_t done_total;
} smarm_blocking_owner;
/* [any] The same for each account whose actors have or had jobs; one that was closed may be left
 * out. Returns how many there are. NULL as above. */
size_t smarm_runtime_blocking_owners(smarm_runtime*, smarm_blocking_owner* out, size_t capacity);

smarm_runtime* smarm_runtime_current(void); /* [any] NULL outside an actor */
int smarm_runtime_tune(smarm_runtime*, uint32_t alloc_interval,
                       uint64_t timeslice_cycles); /* [any] live; 0 leaves as is */
/* [any] async_preempt_ns of the config, live; 0 ends it. SMARM_E_LIMIT: this machine cannot. */
int smarm_runtime_tune_async_preempt(smarm_runtime*, uint64_t quantum_ns);
void smarm_runtime_hold(
    smarm_runtime*); /* [any] one pending job more: run() does not end for want of work */
void smarm_runtime_release(smarm_runtime*); /* [any] */
const char* smarm_last_error(
    void); /* [any] this thread's last SMARM_E_LIMIT, in words; read it before the next call */
const char* smarm_version(void);

/* ---- what code does outside its actor ----
 *
 * In a process with a runtime of SMARM_FAULTS_OF_PLUGINS, a host, a plugin can neither end the
 * process by exit, quick_exit, _exit or abort, nor take over the signals that the host needs. What
 * it was kept from is told to the handler, on the thread that it concerns or the monitor's, never
 * in a signal handler; several calls do not overlap. Without a handler it is a line on stderr. */
enum smarm_notice_kind {
  SMARM_NOTICE_REFUSED = 0,  /* a call that failed; told once per image */
  SMARM_NOTICE_RESTORED = 1, /* what it had changed was put back */
  SMARM_NOTICE_ENDED = 2     /* a thread of its own was ended */
};
typedef struct smarm_notice {
  uint32_t kind; /* enum smarm_notice_kind */
  uint32_t reserved;
  smarm_pid pid; /* the actor that did it; {0, 0} for none */
  uint64_t group;
  const char* image; /* the file of the code that did it, "" when that is not known */
  const char* text;  /* what it did and what became of it, one line */
} smarm_notice;
typedef void (*smarm_notice_handler)(const smarm_notice*, void* arg);
void smarm_set_notice_handler(smarm_notice_handler, void* arg); /* [any] NULL: none */
/* [any] Looks whether the handlers of a host's signals and of std::terminate are still in place,
 * and puts them back. The monitor does so once a second while actors run. Some microseconds. */
void smarm_process_check(void);
/* [any] What each line of the report at the end of a process begins with: "<2>" for a journal. The
 * string must live on. */
void smarm_set_report_prefix(const char* prefix);

/* ---- actors ---- */

typedef struct smarm_spawn_options {
  uint32_t struct_size;
  uint32_t flags;       /* 0 */
  const char* name;     /* copied; NULL for none */
  uint64_t stack_size;  /* 0: the runtime's */
  int64_t deadline_ns;  /* > 0: the supervisor gets a Timeout and the actor is killed when it lives
                           longer */
  smarm_pid supervisor; /* used when flag SMARM_SPAWN_UNDER is set, else the caller */
  uint64_t group; /* used when flag SMARM_SPAWN_GROUP is set, else inherited from the caller */
} smarm_spawn_options;
enum { SMARM_SPAWN_UNDER = 1, SMARM_SPAWN_GROUP = 2 };

/* [actor] Makes an actor runnable; it owns no stack before it first runs. On success the closure
 * belongs to the actor. *handle (may be NULL: detached) must be ended by smarm_join, or
 * smarm_detach. */
int smarm_spawn(const smarm_spawn_options*, smarm_entry entry, void* closure, smarm_actor** handle,
                smarm_pid* pid);
int smarm_join(
    smarm_actor* handle,
    smarm_exit** exit); /* [actor, parks] ends the handle; *exit NULL after a normal end */
void smarm_detach(smarm_actor* handle);               /* [any] */
smarm_pid smarm_actor_pid(const smarm_actor* handle); /* [any] */

smarm_pid smarm_self(void); /* [any] {0, 0} outside an actor */
int smarm_yield(void);      /* [actor, parks] to the tail of the run queue */
int smarm_park(void); /* [actor, parks] until smarm_unpark; an unpark that came first is not lost */
int smarm_unpark(smarm_pid);          /* [any] SMARM_E_STALE when the actor has ended */
int smarm_actor_alive(smarm_pid pid); /* [any] 1 while the actor lives */
int smarm_sleep(int64_t ns);          /* [actor, parks] */
void smarm_check(void); /* [any] an explicit safe-point: may yield, unwinds a killed actor */
void smarm_tick(
    void); /* [any] what one allocation counts for; for languages without our operator new */
void smarm_no_preempt_enter(void); /* [any] nests; implicit yields wait until the matching leave */
void smarm_no_preempt_leave(void);
int smarm_stop(
    smarm_pid); /* [any] asks: smarm_stop_requested turns true, the stop channel gets its message */
int smarm_kill(smarm_pid);      /* [any] unwinds it at its next park or explicit safe-point */
int smarm_stop_requested(void); /* [any] 1 when this actor was asked to stop */
/* [actor] The stop signal as a channel: closes when the actor is asked to stop. One reference for
 * the caller. */
smarm_channel* smarm_stop_channel(void);
uint64_t smarm_group(void);               /* [any] the caller's group, 0 by default */
size_t smarm_group_count(uint64_t group); /* [any] live actors of a group, by a scan */
size_t smarm_group_kill(
    uint64_t group,
    smarm_pid spare); /* [any] kills every actor of a group but one; returns how many were asked */

typedef struct smarm_actor_info {
  smarm_pid pid, supervisor;
  uint64_t group;
  char name[32];
  const char* state; /* "runnable", "running", "parked", "waiting", "ended" */
  const char* where; /* what it waits for: "recv", "sleep", "join", ... or "" */
} smarm_actor_info;
size_t smarm_actor_list(
    smarm_actor_info* out,
    size_t capacity); /* [any] a scan, not a snapshot; returns how many there are */

typedef struct smarm_actor_stats {
  uint32_t struct_size; /* sizeof(smarm_actor_stats) of the caller: what it has no room for is left
                           out */
  uint32_t reserved;
  uint64_t preempted_alloc, preempted_async; /* as in smarm_worker_stats, of this actor; they stop
                                                at 4294967295 */
} smarm_actor_stats;
int smarm_actor_read(smarm_pid,
                     smarm_actor_stats* out); /* [any] SMARM_E_STALE when the actor has ended */

/* Accounts: what the actors of some groups did together, and what they may do. */
typedef struct smarm_account_stats {
  uint32_t struct_size; /* as in smarm_actor_stats */
  uint32_t reserved;
  uint64_t preempted_alloc, preempted_async; /* of all its actors, the ended ones too */
  uint64_t mailbox_limit;                    /* see smarm_account_limit_mailboxes */
  uint64_t mailbox_refused;                  /* messages that met the limit */
  uint64_t blocked; /* times that one of them was found to block its thread in a system call */
} smarm_account_stats;
/* [any] From now on the group counts in that account, which is made when it is new. Groups that are
 * bound to none count in account 0, which is always there; 0 unbinds. Unbind a group that has no
 * actors left. SMARM_E_LIMIT: out of memory. */
int smarm_group_bind(uint64_t group, uint64_t account);
int smarm_account_read(uint64_t account,
                       smarm_account_stats* out); /* [any] SMARM_E_STALE when there is none */
void smarm_account_close(uint64_t account);       /* [any] and unbinds its groups */

/* Exit records. */
enum smarm_exit_kind { SMARM_EXIT_NORMAL = 0, SMARM_EXIT_PANIC = 1, SMARM_EXIT_KILLED = 2 };
int smarm_exit_kind(const smarm_exit*);
smarm_pid smarm_exit_pid(const smarm_exit*);
const char* smarm_exit_message(const smarm_exit*); /* what() of the exception, or the reason */
const char* smarm_exit_type(const smarm_exit*); /* demangled type of the exception, "" for none */
size_t smarm_exit_backtrace(const smarm_exit*, void** out,
                            size_t capacity); /* return addresses, innermost first */
void smarm_exit_exception(const smarm_exit*,
                          void* std_exception_ptr); /* assigns to a std::exception_ptr */
smarm_exit* smarm_exit_retain(smarm_exit*);
void smarm_exit_release(smarm_exit*);

/* ---- memory of small, short-lived things (closures, messages) ---- */

void* smarm_block_alloc(
    size_t size); /* [any] 16-byte aligned, per-worker caches; NULL when out of memory */
void smarm_block_free(void* block, size_t size); /* [any] */

/* ---- channels ---- */

typedef void (*smarm_drop)(void* payload);

smarm_channel* smarm_channel_create(
    size_t capacity, smarm_drop drop); /* [any] capacity 0: unbounded. One sender, one receiver */
void smarm_channel_add_sender(smarm_channel*);    /* [any] */
void smarm_channel_drop_sender(smarm_channel*);   /* [any] the last one closes the channel */
void smarm_channel_drop_receiver(smarm_channel*); /* [any] */
/* [any] Memory for one message of that size (alignment 16). Fill it, then send or free it. */
void* smarm_message_alloc(size_t size);
void smarm_message_free(void* message);
/* [any; parks when bounded and full] On success the message belongs to the channel, else it stays
 * the caller's. SMARM_E_FULL on an unbounded channel: see smarm_account_limit_mailboxes. */
int smarm_channel_send(smarm_channel*, void* message);
/* [actor, parks] *message is valid until the next receive on this channel; the caller destroys the
 * payload, the channel the memory. */
int smarm_channel_recv(smarm_channel*, int64_t timeout_ns, void** message);
int smarm_channel_try_recv(smarm_channel*, void** message); /* [the receiver's thread] */
size_t smarm_channel_len(const smarm_channel*);             /* [any] O(1) */
/* [actor, parks] Waits until one of n receivers has a message or is closed. Returns its position,
 * or SMARM_E_TIMEOUT. */
int smarm_channel_select(smarm_channel* const* receivers, size_t n, int64_t timeout_ns);

/* ---- mailboxes that grow: unbounded channels whose receiver is far behind ---- */

typedef struct smarm_mailbox_info {
  smarm_pid receiver;      /* who waited there last, else took the first message; {0, 0}: nobody */
  smarm_pid sender;        /* of the message that led to a look; {0, 0}: no actor */
  uint64_t group, account; /* the receiver's, else of who made the channel */
  uint64_t sender_account;
  uint64_t depth; /* messages */
  uint64_t bytes; /* that they take, without what they point to */
  char receiver_name[32], sender_name[32];
} smarm_mailbox_info;

enum smarm_mailbox_event {
  SMARM_MAILBOX_GREW = 0, /* the depth has passed the first threshold, or twice the one before */
  SMARM_MAILBOX_FULL = 1  /* a message was refused; told once a minute for an account */
};
/* Called by a sender, perhaps while it holds locks: it must not wait, throw, send or call back. */
typedef void (*smarm_mailbox_notice)(void* arg, int event, const smarm_mailbox_info*);
/* [any] One for the process; NULL takes it away, and nobody is in it afterwards. */
void smarm_mailbox_watch(smarm_mailbox_notice, void* arg);
/* [any] The first threshold, from 1024 up (one look per 512 messages); 65536 by default; 0: none. A
 * mailbox that has fallen below a quarter of what was told begins anew, told once a minute. */
void smarm_mailbox_warn_at(uint64_t messages);
/* [any] A mailbox of the account's actors that holds so many messages, 1024 or more, refuses the
 * next ones: send answers SMARM_E_FULL and parks nobody. Several senders at once may exceed it by
 * some thousands. 0, the default: no limit. Never refused: what a supervisor's channel gets.
 * SMARM_E_LIMIT: out of memory. */
int smarm_account_limit_mailboxes(uint64_t account, uint64_t messages);
/* [any] The mailboxes that were 512 messages behind at least once, and their depth now. Returns how
 * many there are. */
size_t smarm_mailbox_list(smarm_mailbox_info* out, size_t capacity);

/* ---- mutex ---- */

typedef struct smarm_mutex {
  uint64_t opaque[4]; /* zero is unlocked */
} smarm_mutex;
int smarm_mutex_lock(smarm_mutex*, int64_t timeout_ns); /* [actor, parks] */
int smarm_mutex_try_lock(smarm_mutex*);                 /* [any] SMARM_E_TIMEOUT when it is taken */
void smarm_mutex_unlock(smarm_mutex*);                  /* [any] */

/* ---- timers ---- */

/* [actor] Calls fire(arg) on a worker after the time. fire must not wait; it may send and unpark.
 * NULL when out of memory. */
smarm_timer* smarm_timer_start(int64_t after_ns, void (*fire)(void*), void* arg);
/* [any] Ends the handle. 1: it will not fire; 0: it has fired or is firing now. */
int smarm_timer_cancel(smarm_timer*);
void smarm_timer_detach(smarm_timer*); /* [any] ends the handle, lets it fire */

/* ---- IO ---- */

int smarm_wait_readable(int fd, int64_t timeout_ns); /* [actor, parks] */
int smarm_wait_writable(int fd, int64_t timeout_ns);
int smarm_read(int fd, void* buffer, size_t size, int64_t timeout_ns, size_t* done);
int smarm_write(int fd, const void* buffer, size_t size, int64_t timeout_ns,
                size_t* done); /* at least one byte, as write(2) */
/* A socket of the RAII types, or an end of a pipe: non-blocking, registered once. It owns the fd.
 */
typedef struct smarm_socket smarm_socket;
smarm_socket* smarm_socket_adopt(
    int fd, int* error); /* [actor] NULL: *error is an errno, the fd stays the caller's. Never
                            unwinds the caller */
int smarm_socket_fd(const smarm_socket*);
void smarm_socket_close(smarm_socket*); /* [any] wakes its waiters with EBADF */
/* EBADF also for NULL. */
int smarm_socket_read(smarm_socket*, void* buffer, size_t size, int64_t timeout_ns, size_t* done);
int smarm_socket_write(smarm_socket*, const void* buffer, size_t size, int64_t timeout_ns,
                       size_t* done);
/* The same by a struct msghdr: several buffers, datagrams with their addresses. A pipe takes its
 * buffers only. */
int smarm_socket_receive(smarm_socket*, void* msghdr, int64_t timeout_ns, size_t* done);
int smarm_socket_send(smarm_socket*, const void* msghdr, int64_t timeout_ns, size_t* done);
int smarm_socket_accept(smarm_socket*, int64_t timeout_ns, int* fd);
int smarm_socket_connect(smarm_socket*, const void* sockaddr, uint32_t length, int64_t timeout_ns);
/* [actor, parks] Runs job(arg) on the pool of blocking threads. job must not throw. Not killable
 * half-way. Accounts whose jobs queue take turns, and the last eighth of the threads, one at least
 * of two or more, is for accounts that have no job running; account 0 may have them all. */
int smarm_block_on(void (*job)(void*), void* arg);

/* ---- supervision ---- */

/* [any] From now on the ends of the pid's children are sent there, as smarm::Signal messages. Takes
 * a sender reference of its own. The channel must be unbounded (else SMARM_E_LIMIT): signals never
 * wait for room. NULL takes the registration away. */
int smarm_register_supervisor(smarm_pid, smarm_channel*);

/* ---- trace ---- */

extern int smarm_trace_on;       /* read by SMARM_TRACE */
void smarm_trace_enable(int on); /* [any] */
void smarm_trace_record(const char* name, uint64_t a,
                        uint64_t b); /* [any] name: a string that outlives the trace */
typedef struct smarm_trace_event {
  uint64_t tsc;
  smarm_pid pid;
  uint32_t worker;
  uint32_t reserved;
  const char* name;
  uint64_t a, b;
} smarm_trace_event;
size_t smarm_trace_read(
    smarm_trace_event* out,
    size_t capacity);               /* [any] drains, oldest first per worker; returns how many */
uint64_t smarm_trace_dropped(void); /* [any] overwritten before they were read */

/* ---- generators: a stack, a guard and an exception state of their own ---- */

typedef struct smarm_coroutine smarm_coroutine;
/* [any] body(arg, co) starts at the first resume. NULL: see smarm_last_error(). */
smarm_coroutine* smarm_coroutine_create(void (*body)(void*, smarm_coroutine*), void* arg);
/* [any] Runs until the next suspend or the end. 1: suspended; 0: ended. SMARM_E_DYING: the body was
 * unwound because the caller is killed. */
int smarm_coroutine_resume(smarm_coroutine*);
void smarm_coroutine_suspend(smarm_coroutine*); /* only from inside the body */
void smarm_coroutine_destroy(smarm_coroutine*); /* [any] unwinds a suspended body */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
