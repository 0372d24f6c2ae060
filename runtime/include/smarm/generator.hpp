// Generator<T>: a sequence produced by plain code that yields.
//
//   auto evens = smarm::Generator<int>([](auto& yield) { for (int i = 0;; i += 2) yield(i); });
//   for (int v : evens) { if (v > 10) break; }   // a later loop goes on with the next value
//
// The body runs on a stack of its own with a guard and an exception state of its own, in or outside
// a runtime. What escapes the body is rethrown to the consumer. A generator that is dropped
// half-way unwinds its body, destructors included. Generators nest. One thread or actor uses a
// generator at a time.
#pragma once

#include <smarm/smarm.h>
#include <smarm/sendable.hpp>

#include <cxxabi.h>

#include <concepts>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

namespace smarm {

template <class T>
class Generator {
  struct State;

 public:
  // What the body calls with each value.
  class Yield {
   public:
    void operator()(T value) {
      state_->value.emplace(std::move(value));
      smarm_coroutine_suspend(state_->coroutine);
    }

   private:
    friend struct State;
    explicit Yield(State* s) : state_(s) {}
    State* state_;
  };

  // Throws SpawnError-like std::runtime_error when no stack is to be had.
  template <class F>
    requires std::invocable<std::decay_t<F>&, Yield&> && (!std::same_as<std::decay_t<F>, Generator>)
  explicit Generator(F&& body)
      : state_(std::make_unique<Body<std::decay_t<F>>>(std::forward<F>(body))) {
    state_->coroutine = smarm_coroutine_create(&State::start, state_.get());
    if (!state_->coroutine)
      throw std::runtime_error(std::string("Generator: ") + smarm_last_error());
  }
  Generator(Generator&&) noexcept = default;
  Generator& operator=(Generator&&) noexcept = default;

  // The next value, or nullopt at the end. May park when the body does.
  std::optional<T> next() {
    if (!state_ || state_->done) return std::nullopt;
    state_->value.reset();
    state_->done = smarm_coroutine_resume(state_->coroutine) != 1;
    if (std::exception_ptr error = std::exchange(state_->error, nullptr))
      std::rethrow_exception(error);
    return std::exchange(state_->value, std::nullopt);
  }

  class iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;
    iterator() = default;
    explicit iterator(Generator* g) : generator_(g) { ++*this; }
    T& operator*() const { return *value_; }
    T* operator->() const { return &*value_; }
    iterator& operator++() { return value_ = generator_->next(), *this; }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return !value_; }

   private:
    Generator* generator_ = nullptr;
    mutable std::optional<T> value_;
  };
  iterator begin() { return iterator(this); }  // takes the next value
  static std::default_sentinel_t end() { return {}; }

 private:
  struct State {
    smarm_coroutine* coroutine = nullptr;
    std::optional<T> value{};
    std::exception_ptr error{};
    bool done = false;
    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    virtual ~State() = default;
    virtual void run(Yield& yield) = 0;
    static void start(void* self, smarm_coroutine*) {
      State* s = static_cast<State*>(self);
      Yield yield(s);
      s->run(yield);
    }
  };
  template <class F>
  struct Body final : State {
    F f;
    explicit Body(F g) : f(std::move(g)) {}
    ~Body() override {
      if (this->coroutine) smarm_coroutine_destroy(this->coroutine);  // unwinds while f still lives
    }
    void run(Yield& yield) override;
  };
  std::unique_ptr<State> state_;
};

template <class T>
template <class F>
[[gnu::no_sanitize("null")]] void Generator<T>::Body<F>::run(Yield& yield) {
  try {
    std::invoke(f, yield);
  } catch (abi::__forced_unwind&) {  // dropped half-way, or the consumer is killed: not an error of
                                     // the body
    throw;
  } catch (...) {
    this->error = std::current_exception();
  }
}

}  // namespace smarm
