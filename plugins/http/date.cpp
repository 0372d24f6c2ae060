#include "date.hpp"

#include <time.h>

#include <algorithm>
#include <chrono>

namespace http {

// The form has four digits for the year.
constexpr std::time_t kLast = 253'402'300'799;

DateText format_date(std::time_t seconds) {
  using namespace std::chrono;
  constexpr std::string_view days = "SunMonTueWedThuFriSat";
  constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const sys_seconds at{std::chrono::seconds(std::clamp<std::time_t>(seconds, 0, kLast))};
  const sys_days midnight = floor<std::chrono::days>(at);
  const year_month_day date(midnight);
  const hh_mm_ss clock(at - midnight);

  DateText text;
  char* out = text.data();
  const auto put = [&](std::string_view s) { out = s.copy(out, s.size()) + out; };
  const auto number = [&](unsigned n, int digits) {
    for (int i = digits; i-- > 0; n /= 10) out[i] = static_cast<char>('0' + n % 10);
    out += digits;
  };
  put(days.substr(std::size_t{3} * weekday(midnight).c_encoding(), 3));
  put(", ");
  number(static_cast<unsigned>(date.day()), 2);
  put(" ");
  put(months.substr(std::size_t{3} * (static_cast<unsigned>(date.month()) - 1), 3));
  put(" ");
  number(static_cast<unsigned>(static_cast<int>(date.year())), 4);
  put(" ");
  number(static_cast<unsigned>(clock.hours().count()), 2);
  put(":");
  number(static_cast<unsigned>(clock.minutes().count()), 2);
  put(":");
  number(static_cast<unsigned>(clock.seconds().count()), 2);
  put(" GMT");
  return text;
}

std::optional<std::time_t> parse_date(std::string_view text) {
  std::array<char, 40> copy{};  // the longest: "Wednesday, 09-Nov-94 08:49:37 GMT"
  if (text.size() >= copy.size()) return std::nullopt;
  text.copy(copy.data(), text.size());
  for (const char* form :
       {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"}) {
    std::tm parts{};
    const char* end = ::strptime(copy.data(), form, &parts);
    if (end == copy.data() + text.size()) return ::timegm(&parts);
  }
  return std::nullopt;
}

}  // namespace http
