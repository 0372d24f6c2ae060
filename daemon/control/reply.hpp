// Reply: the answer to one request, given now or later, by whoever has it.
//
// [any, actors too] Copy it, keep it, answer from another thread: answering pushes to a lock-free
// list and wakes the control thread, it never waits. The first answer counts, later ones are
// ignored. When the last copy goes without an answer the client is told so (code `internal`), so a
// request can be forgotten but never hangs. When the time runs out first the control thread answers
// `timeout`. A Reply outlives its server safely.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "daemon/control/protocol.hpp"

namespace smarmd {

class Reply {
 public:
  // Where an answer goes. Called once, from the thread that answers.
  using Deliver = std::function<void(nlohmann::json)>;
  Reply(std::string server_version, Deliver deliver);

  void ok(nlohmann::json result, int exit = kExitOk) const;
  void fail(ControlError error) const;
  void fail(std::string_view code, std::string message, std::string hint = {}) const;
  // True once an answer was given.
  bool answered() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace smarmd
