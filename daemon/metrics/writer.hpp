// MetricsWriter: builds a page in the Prometheus text format 0.0.4.
//
//   MetricsWriter page;
//   page.family("smarm_actors", MetricType::gauge, "Live actors of a plugin.");
//   page.sample({{"plugin", "echo"}}, 12);
//   return std::move(page).text();
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace smarmd {

enum class MetricType { counter, gauge };

// A name that is checked when the program is compiled: it starts with smarm_ and holds only lower
// case letters, digits and `_`.
class MetricName {
 public:
  consteval MetricName(const char* name) : text_(name) {
    if (!text_.starts_with("smarm_")) throw "the name of a metric starts with smarm_";
    for (char c : text_) {
      if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'))
        throw "a metric is named by a-z, 0-9 and _";
    }
  }
  constexpr std::string_view text() const { return text_; }

 private:
  std::string_view text_;
};

struct Label {
  std::string_view name;   // [a-zA-Z_][a-zA-Z0-9_]*
  std::string_view value;  // anything; it is escaped
};

class MetricsWriter {
 public:
  // Starts a metric: its samples follow. Each name once a page.
  void family(MetricName name, MetricType type, std::string_view help);

  void sample(std::initializer_list<Label> labels, std::integral auto value) {
    sample_text(labels, std::to_string(value));
  }
  void sample(std::initializer_list<Label> labels, double value);
  void sample(std::integral auto value) { sample_text({}, std::to_string(value)); }
  void sample(double value) { sample({}, value); }

  std::string text() && { return std::move(text_); }

 private:
  void sample_text(std::initializer_list<Label> labels, const std::string& value);

  std::string_view name_;
  std::string text_;
};

}  // namespace smarmd
