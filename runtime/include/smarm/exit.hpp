// Why an actor ended: JoinError for the one who joins, Signal for the one who supervises. Both are
// values that any thread may copy.
#pragma once

#include <smarm/smarm.h>
#include <smarm/pid.hpp>

#include <exception>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace smarm {

namespace detail {
// A counted reference to an exit record. Null stands for a normal end.
class ExitRecord {
 public:
  ExitRecord() = default;
  explicit ExitRecord(smarm_exit* owned) : raw_(owned) {}
  ExitRecord(const ExitRecord& o) : raw_(o.raw_ ? smarm_exit_retain(o.raw_) : nullptr) {}
  ExitRecord(ExitRecord&& o) noexcept : raw_(std::exchange(o.raw_, nullptr)) {}
  ExitRecord& operator=(ExitRecord o) noexcept { return std::swap(raw_, o.raw_), *this; }
  ~ExitRecord() {
    if (raw_) smarm_exit_release(raw_);
  }
  smarm_exit* get() const { return raw_; }

 private:
  smarm_exit* raw_ = nullptr;
};
}  // namespace detail

// The failure of a joined actor: the exception that escaped it, or the news that it was killed.
class JoinError : public std::exception {
 public:
  explicit JoinError(detail::ExitRecord record) : record_(std::move(record)) {}
  const char* what() const noexcept override {
    return smarm_exit_message(record_.get());
  }  // what() of the exception, or "killed"
  std::string type() const { return smarm_exit_type(record_.get()); }  // demangled, "" when killed
  bool killed() const { return smarm_exit_kind(record_.get()) == SMARM_EXIT_KILLED; }
  Pid pid() const { return Pid(smarm_exit_pid(record_.get())); }
  std::exception_ptr exception() const {  // null when killed
    std::exception_ptr e;
    smarm_exit_exception(record_.get(), &e);
    return e;
  }
  std::vector<void*> backtrace() const {  // return addresses of the throw, innermost first
    std::vector<void*> frames(64);
    frames.resize(smarm_exit_backtrace(record_.get(), frames.data(), frames.size()));
    return frames;
  }

 private:
  detail::ExitRecord record_;
};

// What a supervisor's mailbox receives, each with the pid of the child.
struct Exit {
  Pid pid;
};
struct Panic {
  Pid pid;
  std::string reason;              // what() of the exception; "killed" for a killed actor
  std::string type;                // demangled type of the exception, "" when killed
  std::vector<void*> backtrace{};  // return addresses of the throw, innermost first
};
struct Timeout {  // the child overran its deadline or its shutdown time; it is being killed, and
                  // its end arrives as a Panic
  Pid pid;
};
using Signal = std::variant<Exit, Panic, Timeout>;

inline Pid pid_of(const Signal& signal) {
  return std::visit([](const auto& s) { return s.pid; }, signal);
}

}  // namespace smarm
