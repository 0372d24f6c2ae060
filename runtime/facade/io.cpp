// smarm.h: IO.

#include "runtime/fault/raise.hpp"
#include "runtime/io/socket_call.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/preempt.hpp"

#include <smarm/smarm.h>

#include <cerrno>

using namespace smarm;

namespace {

// Every IO call: an actor's, in a section, a tick, and the unwinding of a kill outside of it.
template <class F>
[[gnu::always_inline]] inline int io_call(F f) {
  int status;
  {
    Worker* w = current_worker();
    if (!w || !w->current) return not_an_actor();
    Section section(w);
    status = kill_pending(*w->current) ? kKilled : f();
  }
  tick();
  if (status == kKilled) unwind_self();
  return status;
}

}  // namespace

extern "C" {

int smarm_wait_readable(int fd, int64_t timeout_ns) {
  return io_call([&] { return current_backend().wait_raw(fd, kReadable, timeout_ns); });
}
int smarm_wait_writable(int fd, int64_t timeout_ns) {
  return io_call([&] { return current_backend().wait_raw(fd, kWritable, timeout_ns); });
}
int smarm_read(int fd, void* buffer, size_t size, int64_t timeout_ns, size_t* done) {
  return io_call([&] { return read_raw(fd, buffer, size, timeout_ns, *done); });
}
int smarm_write(int fd, const void* buffer, size_t size, int64_t timeout_ns, size_t* done) {
  return io_call([&] { return write_raw(fd, buffer, size, timeout_ns, *done); });
}

// No safe-point: a kill here would leave the descriptor to nobody, or to two.
smarm_socket* smarm_socket_adopt(int fd, int* error) {
  *error = 0;
  smarm_socket* s = nullptr;
  {
    Worker* w = current_worker();
    if (!w || !w->current) {
      *error = not_an_actor();
      return nullptr;
    }
    const Section section(w);
    s = adopt_socket(fd, *error);
  }
  tick();
  return s;
}
int smarm_socket_fd(const smarm_socket* s) { return s->fd; }
void smarm_socket_close(smarm_socket* s) {
  Section section(current_worker());
  close_socket(s);
}
int smarm_socket_read(smarm_socket* s, void* buffer, size_t size, int64_t timeout_ns,
                      size_t* done) {
  if (!s) return EBADF;
  return io_call([&] { return read_socket(*s, buffer, size, timeout_ns, *done); });
}
int smarm_socket_write(smarm_socket* s, const void* buffer, size_t size, int64_t timeout_ns,
                       size_t* done) {
  if (!s) return EBADF;
  return io_call([&] { return write_socket(*s, buffer, size, timeout_ns, *done); });
}
int smarm_socket_receive(smarm_socket* s, void* msghdr, int64_t timeout_ns, size_t* done) {
  if (!s) return EBADF;
  return io_call(
      [&] { return receive_message(*s, *static_cast<struct msghdr*>(msghdr), timeout_ns, *done); });
}
int smarm_socket_send(smarm_socket* s, const void* msghdr, int64_t timeout_ns, size_t* done) {
  if (!s) return EBADF;
  return io_call([&] {
    return send_message(*s, *static_cast<const struct msghdr*>(msghdr), timeout_ns, *done);
  });
}
int smarm_socket_accept(smarm_socket* s, int64_t timeout_ns, int* fd) {
  if (!s) return EBADF;
  return io_call([&] { return accept_socket(*s, timeout_ns, *fd); });
}
int smarm_socket_connect(smarm_socket* s, const void* address, uint32_t length,
                         int64_t timeout_ns) {
  if (!s) return EBADF;
  return io_call([&] { return connect_socket(*s, address, length, timeout_ns); });
}
int smarm_block_on(void (*job)(void*), void* arg) {
  JobFailure failure;
  const int status = io_call([&] { return current_backend().blocking().run(job, arg, failure); });
  if (failure.failed) [[unlikely]]
    raise_here(FaultCause::told, 0, failure.text);
  return status;
}

}  // extern "C"
