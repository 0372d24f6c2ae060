#include "daemon/control/reply.hpp"

#include <atomic>

namespace smarmd {

struct Reply::State {
  State(std::string v, Deliver d) : version(std::move(v)), deliver(std::move(d)) {}
  ~State() {
    if (!given.load(
            std::memory_order_relaxed)) {  // relaxed: the last reference, nobody else is left
      try {
        deliver(make_error({std::string(codes::kInternal),
                            "the daemon dropped the request without an answer",
                            "look into its log",
                            {}},
                           version));
      } catch (const std::exception&) {
        // Out of memory: the deadline of the request answers instead.
      }
    }
  }

  // True for the first who asks. acq_rel: the answers of two threads are ordered, one of them wins.
  bool take() { return !given.exchange(true, std::memory_order_acq_rel); }

  const std::string version;
  const Deliver deliver;
  std::atomic<bool> given{false};
};

Reply::Reply(std::string server_version, Deliver deliver)
    : state_(std::make_shared<State>(std::move(server_version), std::move(deliver))) {}

void Reply::ok(nlohmann::json result, int exit) const {
  if (state_->take()) state_->deliver(make_answer(std::move(result), state_->version, exit));
}

void Reply::fail(ControlError error) const {
  if (state_->take()) state_->deliver(make_error(error, state_->version));
}

void Reply::fail(std::string_view code, std::string message, std::string hint) const {
  fail({std::string(code), std::move(message), std::move(hint), {}});
}

bool Reply::answered() const { return state_->given.load(std::memory_order_acquire); }

}  // namespace smarmd
