// journald's native protocol: fields instead of lines, so `journalctl SMARMD_PLUGIN=echo` works.
#include <sys/uio.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION  // a record's place in our source says nothing to its reader
#include <systemd/sd-journal.h>

#include <string>
#include <vector>

#include "daemon/log/format.hpp"
#include "daemon/log/sink.hpp"

namespace smarmd {
namespace {

class JournalSink : public Sink {
 public:
  explicit JournalSink(JournalSend send) : send_(std::move(send)) {}

  void write(const Record& record) override {
    std::vector<std::string> fields = journal_fields(record);
    std::vector<iovec> parts;
    parts.reserve(fields.size());
    for (std::string& field : fields) parts.push_back({field.data(), field.size()});
    if (send_(parts.data(), static_cast<int>(parts.size())) < 0) ++failed_;
  }

  std::size_t flush() override { return std::exchange(failed_, 0); }

 private:
  JournalSend send_;
  std::size_t failed_ = 0;
};

}  // namespace

std::unique_ptr<Sink> make_journal_sink(JournalSend send) {
  return std::make_unique<JournalSink>(std::move(send));
}

std::unique_ptr<Sink> make_journal_sink() {
  return make_journal_sink(
      [](const iovec* parts, int count) { return sd_journal_sendv(parts, count); });
}

bool journal_is_there() { return ::access("/run/systemd/journal/socket", W_OK) == 0; }

}  // namespace smarmd
