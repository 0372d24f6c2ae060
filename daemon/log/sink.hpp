// Where records end: the log thread's own, called by nobody else.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <functional>
#include <memory>

#include "daemon/log/record.hpp"

namespace smarmd {

class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(const Record& record) = 0;
  // Brings out what write() gathered. Returns how many records could not be written since the last
  // flush.
  virtual std::size_t flush() = 0;
};

// Text for people, coloured when fd is a terminal and NO_COLOR is not set; or one JSON object a
// line.
std::unique_ptr<Sink> make_text_sink(int fd);
std::unique_ptr<Sink> make_json_sink(int fd);

// sd_journal_sendv, or a stand-in of the same meaning: 0, or a negative errno.
using JournalSend = std::function<int(const iovec*, int)>;
std::unique_ptr<Sink> make_journal_sink(JournalSend send);
std::unique_ptr<Sink> make_journal_sink();
// False when there is no journald to send to.
bool journal_is_there();

}  // namespace smarmd
