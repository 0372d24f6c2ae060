#include "daemon/metrics/writer.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include "daemon/plugin/text.hpp"

namespace smarmd {
namespace {

// A page with one byte that is not UTF-8 is refused as a whole.
void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (char c : plugin::to_utf8(text)) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

}  // namespace

void MetricsWriter::family(MetricName name, MetricType type, std::string_view help) {
  name_ = name.text();
  text_ += "# HELP ";
  text_ += name_;
  text_ += ' ';
  append_escaped(text_, help, false);
  text_ += "\n# TYPE ";
  text_ += name_;
  text_ += type == MetricType::counter ? " counter\n" : " gauge\n";
}

void MetricsWriter::sample(std::initializer_list<Label> labels, double value) {
  if (std::isnan(value)) return sample_text(labels, "NaN");
  if (std::isinf(value)) return sample_text(labels, value > 0 ? "+Inf" : "-Inf");
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value)
                       .ptr;  // shortest that reads back the same, whatever the locale
  sample_text(labels, std::string(digits.data(), end));
}

void MetricsWriter::sample_text(std::initializer_list<Label> labels, const std::string& value) {
  text_ += name_;
  char before = '{';
  for (const Label& label : labels) {
    text_ += before;
    text_ += label.name;
    text_ += "=\"";
    append_escaped(text_, label.value, true);
    text_ += '"';
    before = ',';
  }
  if (labels.size() > 0) text_ += '}';
  text_ += ' ';
  text_ += value;
  text_ += '\n';
}

}  // namespace smarmd
