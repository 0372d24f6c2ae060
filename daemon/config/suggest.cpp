#include "daemon/config/suggest.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace smarmd::configuration {

namespace {

constexpr std::size_t kLongestWord =
    64;  // the table of distances is quadratic, and no known key is longer

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool one_holds_the_other(std::string_view a, std::string_view b) {
  constexpr std::size_t kTelling = 3;  // a shorter part says nothing
  if (a.size() > b.size()) std::swap(a, b);
  if (a.size() < kTelling) return false;
  return std::search(b.begin(), b.end(), a.begin(), a.end(),
                     [](char x, char y) { return lower(x) == lower(y); }) != b.end();
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last, last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const char x = lower(a[i - 1]), y = lower(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (x == y ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && x == lower(b[j - 2]) && lower(a[i - 2]) == y;
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = last;
    std::swap(last, row);
  }
  return last[b.size()];
}

std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates) {
  if (word.empty() || word.size() > kLongestWord) return std::nullopt;
  const std::string* best = nullptr;
  std::size_t best_distance = 0;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    const bool alike = distance <= std::max(word.size(), candidate.size()) / 3 ||
                       one_holds_the_other(word, candidate);
    if (!alike || (best && distance >= best_distance)) continue;
    best = &candidate;
    best_distance = distance;
  }
  return best ? std::optional(*best) : std::nullopt;
}

}  // namespace smarmd::configuration
