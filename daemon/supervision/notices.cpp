#include "daemon/supervision/notices.hpp"

#include "daemon/log/events.hpp"

#include <cstdlib>

namespace smarmd {

namespace {

const char* result_of(const smarm_notice& notice) {
  switch (notice.kind) {
    case SMARM_NOTICE_REFUSED: return "refused";
    case SMARM_NOTICE_RESTORED: return "restored";
    case SMARM_NOTICE_ENDED: return "ended";
    default: return "";
  }
}

}  // namespace

std::string plugin_of_image(std::string_view file) {
  file.remove_prefix(file.rfind('/') + 1);
  if (!file.ends_with(".so")) return {};
  file.remove_suffix(3);
  const auto digits = file.find_last_not_of("0123456789");
  if (digits == file.npos || digits + 1 == file.size() || digits < 2 ||
      file.substr(digits - 1, 2) != ".g")
    return {};
  return std::string(file.substr(0, digits - 1));
}

Notices::Notices(Logger& logger, const StatusBoard& board) : logger_(logger), board_(board) {
  smarm_set_notice_handler(
      [](const smarm_notice* notice, void* self) { static_cast<Notices*>(self)->log(*notice); },
      this);
  // As journald reads it: the report at the end of the process is critical. (stderr itself, where
  // the report goes, whatever the log's format.)
  if (is_journal_stream(2, std::getenv("JOURNAL_STREAM"))) smarm_set_report_prefix("<2>");
}

Notices::~Notices() { smarm_set_notice_handler(nullptr, nullptr); }

void Notices::log(const smarm_notice& notice) const {
  std::string plugin = plugin_of_image(notice.image);
  if (plugin.empty() && notice.group != 0) {
    for (const PluginView& p : board_.plugins()) {
      if (p.group == notice.group) plugin = p.snapshot.name;
    }
  }
  Fields fields{{"plugin", plugin}, {"result", result_of(notice)}, {"image", notice.image}};
  if (notice.pid.index != 0) {
    fields.push_back(
        {"pid", std::to_string(notice.pid.index) + "." + std::to_string(notice.pid.generation)});
  }
  logger_.log(Level::warn, events::kPluginContained,
              (plugin.empty() ? std::string("a plugin") : plugin) + ": " + notice.text,
              std::move(fields));
}

}  // namespace smarmd
