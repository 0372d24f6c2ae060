#include "daemon/supervision/panic_reports.hpp"

#include <utility>

namespace smarmd {

namespace {
constexpr std::size_t kMostFrames = 64;
}  // namespace

PanickedActor::PanickedActor(const smarm_panic& p, std::uint64_t not_told)
    : pid(p.pid),
      supervisor(p.supervisor),
      group(p.group),
      suppressed(not_told),
      name(p.name),
      reason(smarm_exit_message(p.exit)),
      type(smarm_exit_type(p.exit)),
      frames(kMostFrames) {
  frames.resize(smarm_exit_backtrace(p.exit, frames.data(), frames.size()));
}

std::string panicked_text(const std::string& plugin, const PanickedActor& p) {
  return plugin + ": actor " + p.pid.to_string() + (p.name.empty() ? "" : " \"" + p.name + "\"") +
         " panicked: " + p.reason + (p.type.empty() ? "" : " (" + p.type + ")") +
         (p.suppressed ? "; " + std::to_string(p.suppressed) + " others were not told" : "");
}

Fields panicked_fields(const std::string& plugin, const PanickedActor& p, LateText backtrace) {
  return {{"plugin", plugin},
          {"actor", p.pid.to_string()},
          {"name", p.name},
          {"reason", p.reason},
          {"type", p.type},
          {"suppressed", p.suppressed},
          {"backtrace", std::move(backtrace)}};
}

}  // namespace smarmd
