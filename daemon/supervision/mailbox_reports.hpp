// Writes a record when a mailbox has grown past a threshold, or refuses messages.
//
// Threads: the runtime tells it of both wherever somebody sends. It looks the plugins' names up on
// the board and logs; it waits for nobody. One instance in a process.
#pragma once

#include "daemon/log/logger.hpp"
#include "daemon/supervision/status_board.hpp"

#include <smarm/smarm.h>

namespace smarmd {

class MailboxReports {
 public:
  // Both outlive it. Nothing is told any more once it is destroyed.
  MailboxReports(Logger& logger, const StatusBoard& board);
  ~MailboxReports();
  MailboxReports(const MailboxReports&) = delete;
  MailboxReports& operator=(const MailboxReports&) = delete;

 private:
  static void take(void* self, int event, const smarm_mailbox_info* info);
  void report(int event, const smarm_mailbox_info& info);

  Logger& logger_;
  const StatusBoard& board_;
};

}  // namespace smarmd
