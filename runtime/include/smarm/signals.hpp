// Signals of the process as a channel.
#pragma once

#include <smarm/actor.hpp>
#include <smarm/channel.hpp>
#include <smarm/fd.hpp>

#include <initializer_list>
#include <memory>
#include <utility>

namespace smarm {

// While it lives the signals arrive in its channel, by number, and have no other effect. As with
// every signal, several of one number may arrive as one. Those who ask for the same signal all get
// it. Once the last of them has gone a signal does what it did before, one that is still on its way
// too; they have gone soon after their objects.
//
//     auto signals = smarm::Signals::open({SIGTERM, SIGHUP});
//     while (auto signal = signals->channel().recv()) ...
class Signals {
 public:
  Signals() = default;
  // Spawns an actor, which ends with the object. Refused: signals that cannot be caught or that
  // tell of faults (std::errc::invalid_argument), and those that the runtime or the host of a
  // plugin, smarmd, uses itself (std::errc::device_or_resource_busy).
  [[nodiscard]] static IoResult<Signals> open(std::initializer_list<int> signals);
  Signals(Signals&& o) noexcept
      : channel_(std::move(o.channel_)), pump_(std::exchange(o.pump_, Pid())) {}
  Signals& operator=(Signals&& o) noexcept {
    if (this != &o) {
      stop();
      channel_ = std::move(o.channel_);
      pump_ = std::exchange(o.pump_, Pid());
    }
    return *this;
  }
  ~Signals() { stop(); }

  Receiver<int>& channel() { return channel_; }

 private:
  void stop() noexcept;
  Receiver<int> channel_{};
  Pid pump_{};
};

}  // namespace smarm
