#include "daemon/supervision/mailbox_reports.hpp"

#include "daemon/log/events.hpp"

#include <smarm/pid.hpp>

#include <exception>
#include <string>
#include <utility>

namespace smarmd {

namespace {

std::string actor_text(smarm::Pid pid, const char* name) {
  if (pid == smarm::ROOT_PID) return {};
  return "actor " + pid.to_string() + (*name ? " (" + std::string(name) + ")" : "");
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::uint64_t kKiB = 1024, kMiB = 1024 * kKiB;
  return bytes < kMiB ? std::to_string(bytes / kKiB) + " KiB"
                      : std::to_string(bytes / kMiB) + " MiB";
}

// "of flood", when it is somebody else's.
std::string sender_text(const smarm_mailbox_info& info, const std::string& plugin) {
  std::string actor = actor_text(smarm::Pid(info.sender), info.sender_name);
  if (actor.empty()) return "a timer or a thread that is no worker";
  if (info.sender_account == info.account) return actor;
  return actor + " of " + (plugin.empty() ? "smarmd" : plugin);
}

}  // namespace

MailboxReports::MailboxReports(Logger& logger, const StatusBoard& board)
    : logger_(logger), board_(board) {
  smarm_mailbox_watch(&MailboxReports::take, this);
}

MailboxReports::~MailboxReports() { smarm_mailbox_watch(nullptr, nullptr); }

void MailboxReports::take(void* self, int event, const smarm_mailbox_info* info) {
  try {
    static_cast<MailboxReports*>(self)->report(event, *info);
  } catch (const std::exception&) {  // out of memory: the next one will do
  }
}

void MailboxReports::report(int event, const smarm_mailbox_info& info) {
  const std::string plugin = board_.plugin_of(info.account);
  const std::string sender_plugin = board_.plugin_of(info.sender_account);
  const std::string owner = plugin.empty() ? "smarmd" : plugin;
  const std::string actor = actor_text(smarm::Pid(info.receiver), info.receiver_name);
  const bool full = event == SMARM_MAILBOX_FULL;
  std::string text = owner + ": the mailbox of ";
  text += actor.empty() ? "an actor that has not received yet" : actor;
  text += (full ? " is full, " : " grows, ") + std::to_string(info.depth) + " messages, " +
          size_text(info.bytes) + (full ? "; refused: one from " : "; the last is from ") +
          sender_text(info, sender_plugin);
  if (!full && !plugin.empty())
    text += "; /plugins/overrides/" + plugin + "/mailbox_limit can limit it";
  Fields fields{{"plugin", owner},
                {"actor", actor.empty() ? "" : smarm::Pid(info.receiver).to_string()},
                {"name", info.receiver_name},
                {"depth", info.depth},
                {"bytes", info.bytes},
                {"sender", smarm::Pid(info.sender).to_string()},
                {"sender_name", info.sender_name},
                {"sender_plugin", sender_plugin}};
  logger_.log(Level::warn, full ? events::kMailboxFull : events::kMailboxGrew, std::move(text),
              std::move(fields));
}

}  // namespace smarmd
