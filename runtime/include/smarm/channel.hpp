// Channels: many senders, one receiver; messages of one sender arrive in order.
//
// Sender is copyable and may be used from any thread; Receiver is move-only and belongs to one
// actor at a time. The last sender gone closes the channel: the receiver gets what is queued, then
// RecvError::closed. The receiver gone: send hands the value back.
#pragma once

#include <smarm/smarm.h>
#include <smarm/actor.hpp>
#include <smarm/sendable.hpp>
#include <smarm/time.hpp>

#include <array>
#include <expected>
#include <memory>
#include <new>
#include <optional>
#include <utility>

namespace smarm {

enum class SendFailure {
  closed,  // the receiver is gone
  full     // bounded, full, and the caller is not an actor that could park; or unbounded, and the
           // receiver's account has a limit (mailbox_limit of the daemon) that is reached
};

// A send that failed gives its value back.
template <class T>
struct SendError {
  T value;
  SendFailure reason = SendFailure::closed;
};

enum class RecvError {
  closed,   // every sender is gone and the queue is empty
  timeout,  // recv_timeout only
  empty     // try_recv only
};

namespace detail {
template <class T>
void drop_payload(void* p) {
  std::destroy_at(static_cast<T*>(p));
}

// A message that was not sent yet: freed when the send fails or the sender is killed while it waits
// for room.
template <class T>
class Message {
 public:
  explicit Message(T&& value) {
    void* memory = smarm_message_alloc(sizeof(T));
    if (!memory) throw std::bad_alloc();
    try {
      payload_ = ::new (memory) T(std::move(value));
    } catch (...) {
      smarm_message_free(memory);
      throw;
    }
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() {
    if (!payload_) return;
    std::destroy_at(payload_);
    smarm_message_free(payload_);
  }
  T* get() const { return payload_; }
  void release() { payload_ = nullptr; }

 private:
  T* payload_ = nullptr;
};
}  // namespace detail

template <class T>
class Receiver;

template <class T>
class Sender {
 public:
  Sender() = default;
  // Takes over one sender reference of an untyped channel that carries T.
  explicit Sender(smarm_channel* owned) : raw_(owned) {}
  Sender(const Sender& o) : raw_(o.raw_) {
    if (raw_) smarm_channel_add_sender(raw_);
  }
  Sender(Sender&& o) noexcept : raw_(std::exchange(o.raw_, nullptr)) {}
  Sender& operator=(Sender o) noexcept { return std::swap(raw_, o.raw_), *this; }
  ~Sender() {
    if (raw_) smarm_channel_drop_sender(raw_);
  }

  // Queues the value. Never parks on an unbounded channel, which refuses only by a limit; parks
  // while a bounded one is full. Legal from any thread.
  [[nodiscard]] std::expected<void, SendError<T>> send(T value) const {
    if (!raw_) return std::unexpected(SendError<T>{std::move(value)});
    detail::Message<T> message(std::move(value));
    int status = smarm_channel_send(raw_, message.get());
    if (status == SMARM_OK) {
      message.release();
      return {};
    }
    return std::unexpected(SendError<T>{std::move(*message.get()), status == SMARM_E_FULL
                                                                       ? SendFailure::full
                                                                       : SendFailure::closed});
  }
  std::size_t len() const { return raw_ ? smarm_channel_len(raw_) : 0; }  // queued messages, O(1)
  explicit operator bool() const { return raw_ != nullptr; }
  smarm_channel* raw() const { return raw_; }

 private:
  smarm_channel* raw_ = nullptr;
};

template <class T>
class Receiver {
 public:
  Receiver() = default;
  explicit Receiver(smarm_channel* owned) : raw_(owned) {}
  Receiver(Receiver&& o) noexcept : raw_(std::exchange(o.raw_, nullptr)) {}
  Receiver& operator=(Receiver&& o) noexcept {
    if (this != &o) {
      close();
      raw_ = std::exchange(o.raw_, nullptr);
    }
    return *this;
  }
  ~Receiver() { close(); }

  // Waits for a message. Parks.
  [[nodiscard]] std::expected<T, RecvError> recv() { return receive(SMARM_FOREVER); }
  // Waits for a message at most that long. Parks.
  template <class Rep, class Period>
  [[nodiscard]] std::expected<T, RecvError> recv_timeout(std::chrono::duration<Rep, Period> d) {
    return receive(detail::to_ns(d));
  }
  // Never parks.
  [[nodiscard]] std::expected<T, RecvError> try_recv() {
    void* message = nullptr;
    int status = raw_ ? smarm_channel_try_recv(raw_, &message) : SMARM_E_CLOSED;
    return take(status, message);
  }
  std::size_t len() const { return raw_ ? smarm_channel_len(raw_) : 0; }
  // Drops the receiving end: what is queued is destroyed, senders get their values back.
  void close() {
    if (raw_) smarm_channel_drop_receiver(std::exchange(raw_, nullptr));
  }
  explicit operator bool() const { return raw_ != nullptr; }
  smarm_channel* raw() const { return raw_; }

 private:
  std::expected<T, RecvError> receive(std::int64_t timeout_ns) {
    void* message = nullptr;
    int status = raw_ ? smarm_channel_recv(raw_, timeout_ns, &message) : SMARM_E_CLOSED;
    return take(status, message);
  }
  static std::expected<T, RecvError> take(int status, void* message) {
    switch (status) {
      case SMARM_OK: {
        struct Payload {  // destroyed when the move throws, too
          T* p;
          ~Payload() { std::destroy_at(p); }
        } payload{std::launder(static_cast<T*>(message))};
        return std::expected<T, RecvError>(std::in_place, std::move(*payload.p));
      }
      case SMARM_E_CLOSED: return std::unexpected(RecvError::closed);
      case SMARM_E_TIMEOUT: return std::unexpected(RecvError::timeout);
      case SMARM_E_EMPTY: return std::unexpected(RecvError::empty);
      default: detail::throw_status(status, "recv");
    }
  }
  smarm_channel* raw_ = nullptr;
};

namespace detail {
template <class T>
std::pair<Sender<T>, Receiver<T>> make_channel(std::size_t capacity) {
  static_assert(alignof(T) <= 16, "a message may not be over-aligned");
  smarm_channel* raw = smarm_channel_create(
      capacity, std::is_trivially_destructible_v<T> ? nullptr : &drop_payload<T>);
  if (!raw) throw std::bad_alloc();
  return {Sender<T>(raw), Receiver<T>(raw)};
}
}  // namespace detail

// An unbounded channel. Legal from any thread.
template <Sendable T>
std::pair<Sender<T>, Receiver<T>> channel() {
  return detail::make_channel<T>(0);
}
// A channel that holds at most n messages (n >= 1): send parks while it is full.
template <Sendable T>
std::pair<Sender<T>, Receiver<T>> bounded_channel(std::size_t n) {
  if (n == 0) throw std::invalid_argument("bounded_channel: the capacity must be at least 1");
  return detail::make_channel<T>(n);
}

// Waits until one of the receivers has a message or is closed and returns its position; nullopt
// after the time. Parks. The receiver's try_recv then does not answer `empty`. When several are
// ready the lowest position wins: rotate the arguments for fairness.
template <class... T>
std::optional<std::size_t> select_timeout(Duration d, Receiver<T>&... receivers) {
  std::array<smarm_channel*, sizeof...(T)> raw{receivers.raw()...};
  int status = smarm_channel_select(raw.data(), raw.size(), detail::to_ns(d));
  if (status >= 0) return static_cast<std::size_t>(status);
  if (status == SMARM_E_TIMEOUT) return std::nullopt;
  detail::throw_status(status, "select");
}
template <class... T>
std::size_t select(Receiver<T>&... receivers) {
  return select_timeout(Duration::max(), receivers...)
      .value_or(0);  // none only while the caller is being killed
}

// From now on the ends of supervisor's children arrive there. The registration holds a sender until
// the supervisor ends, registers another, or an empty one. The channel must be unbounded, else
// std::invalid_argument: signals never wait for room.
inline void register_supervisor_channel(Pid supervisor, Sender<Signal> mailbox) {
  if (smarm_register_supervisor(supervisor.raw(), mailbox.raw()) == SMARM_E_LIMIT)
    throw std::invalid_argument(std::string("register_supervisor_channel: ") + smarm_last_error());
}

}  // namespace smarm
