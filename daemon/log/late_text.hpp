// LateText: a text that is made by whoever reads it first. For what is too dear for who logs it:
// the log thread makes it, and who logged it went on long ago.
//
// Threads: made and copied by any, actors too; text() may take its time and a lock, so it is for
// threads that are not workers. Copies share the text.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace smarmd {

class LateText {
 public:
  LateText() = default;  // no text
  LateText(std::string text) : made_(std::make_shared<Made>()) { made_->text = std::move(text); }
  // `make` is called once at most, on the thread of the first reader.
  explicit LateText(std::function<std::string()> make) : made_(std::make_shared<Made>()) {
    made_->make = std::move(make);
  }

  bool none() const { return !made_; }
  std::string text() const {
    if (!made_) return {};
    const std::lock_guard guard(made_->mutex);
    if (made_->make) made_->text = made_->run();
    return made_->text;
  }
  // The text if somebody has made it, else none. Never waits: for actors.
  LateText if_made() const {
    if (!made_) return {};
    const std::unique_lock guard(made_->mutex, std::try_to_lock);
    return guard && !made_->make ? LateText(made_->text) : LateText();
  }

 private:
  struct Made {
    std::mutex mutex;
    std::function<std::string()> make;  // by mutex; empty once the text is there
    std::string text;                   // by mutex

    std::string run() {
      const auto maker = std::exchange(make, nullptr);
      try {
        return maker();
      } catch (const std::exception& e) {
        return std::string("(not to be had: ") + e.what() + ")";
      }
    }
  };
  std::shared_ptr<Made> made_;
};

}  // namespace smarmd
