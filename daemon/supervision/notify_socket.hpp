// NotifySocket: the sending side of sd_notify(3), without its waits.
//
// Why not sd_notify() itself: its send blocks while the manager's queue is full (ten datagrams by
// default), and the thread that notifies is the one that must always hear a signal.
//
// One thread uses it. What the manager does not take at once waits here, in its order, and is
// bounded:
// 1. of STATUS texts only the newest waits;
// 2. a reload that was not told before the next one begins is not told any more;
// 3. at most one WATCHDOG=1 waits;
// 4. after STOPPING=1 nothing but STATUS and WATCHDOG is told.
#pragma once

#include "daemon/plugin/unique_fd.hpp"

#include <deque>
#include <string>
#include <string_view>

namespace smarmd {

class NotifySocket {
 public:
  // NOTIFY_SOCKET's value: a path, or "@" and an abstract name. Without one nothing is sent.
  explicit NotifySocket(const char* address);

  // Sends the message ("READY=1\nSTATUS=..."), or queues it. Never waits.
  void push(std::string message);
  // Goes on with what waits; call it when poll() says that fd() is writable.
  void send_waiting();
  bool waiting() const { return !waiting_.empty(); }
  int fd() const { return fd_.get(); }

 private:
  bool connect();
  void make_room_for(std::string_view message);

  const std::string address_;
  plugin::UniqueFd fd_;
  std::deque<std::string> waiting_;
  bool stopping_ = false;
};

}  // namespace smarmd
