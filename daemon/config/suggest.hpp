// "Did you mean ...?": the nearest of a few known words. Pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace smarmd::configuration {

// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment) that turn
// `a` into `b`. Upper case counts as lower case.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `word`, the first of equals; nothing when even the nearest is not alike:
// more than a third of the longer word differs and neither is a part of the other.
std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace smarmd::configuration
