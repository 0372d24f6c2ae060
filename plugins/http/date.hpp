// Dates as HTTP writes them: "Sun, 06 Nov 1994 08:49:37 GMT".
#pragma once

#include <array>
#include <ctime>
#include <optional>
#include <string_view>

namespace http {

using DateText = std::array<char, 29>;

DateText format_date(std::time_t seconds);
// Any of the three forms of RFC 9110.
std::optional<std::time_t> parse_date(std::string_view text);

// The present time, made into text once a second.
class DateCache {
 public:
  std::string_view now() {
    if (const std::time_t second = std::time(nullptr); second != second_) {
      second_ = second;
      text_ = format_date(second);
    }
    return {text_.data(), text_.size()};
  }

 private:
  std::time_t second_ = -1;
  DateText text_{};
};

}  // namespace http
