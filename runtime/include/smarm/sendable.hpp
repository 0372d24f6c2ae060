// Sendable<T>: what may cross from one actor to another, as a message or as a spawned callable.
//
// A message is moved into the channel and out of it by another actor, perhaps on another OS thread.
// So it must be an object (no reference), movable, and not bound to the thread or actor that made
// it: a guard that unlocks on the wrong side is a bug that no test finds. A type opts out by
// specialising `smarm::thread_bound`; standard wrappers of a thread-bound type are thread-bound
// too. When the concept fails, the compiler names the part that did: Object, Movable or
// NotThreadBound.
#pragma once

#include <concepts>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace smarm {

// Specialise to true for a type that must stay with the actor or thread that made it.
template <class T>
inline constexpr bool thread_bound = false;

template <class M>
inline constexpr bool thread_bound<std::lock_guard<M>> = true;
template <class M>
inline constexpr bool thread_bound<std::unique_lock<M>> = true;
template <class M>
inline constexpr bool thread_bound<std::shared_lock<M>> = true;
template <class... M>
inline constexpr bool thread_bound<std::scoped_lock<M...>> = true;
template <class T>
inline constexpr bool thread_bound<std::reference_wrapper<T>> = true;
template <class T>
inline constexpr bool thread_bound<std::optional<T>> = thread_bound<T>;
template <class T, class A>
inline constexpr bool thread_bound<std::vector<T, A>> = thread_bound<T>;
template <class A, class B>
inline constexpr bool thread_bound<std::pair<A, B>> = thread_bound<A> || thread_bound<B>;
template <class... T>
inline constexpr bool thread_bound<std::tuple<T...>> = (thread_bound<T> || ...);
template <class... T>
inline constexpr bool thread_bound<std::variant<T...>> = (thread_bound<T> || ...);

namespace sendable {
template <class T>
concept Object = std::is_object_v<T> && !std::is_const_v<T> &&
                 !std::is_array_v<T>;  // no reference: it would outlive what it names
template <class T>
concept Movable = std::move_constructible<T> && std::destructible<T>;
template <class T>
concept NotThreadBound =
    !thread_bound<T>;  // guards and other thread-bound types stay with their actor
}  // namespace sendable

template <class T>
concept Sendable = sendable::Object<T> && sendable::Movable<T> && sendable::NotThreadBound<T>;

}  // namespace smarm
