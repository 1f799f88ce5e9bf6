#include <cstdio>

#include "model/template/error.h"
#include "model/template/functions.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

constexpr const char* kDays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                 "Thursday", "Friday", "Saturday"};
constexpr const char* kMonths[] = {"January",   "February", "March",    "April",
                                   "May",       "June",     "July",     "August",
                                   "September", "October",  "November", "December"};

std::string Number(int value, int width) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "%0*d", width, value);
  return buffer;
}

int Hour12(const std::tm& t) { return t.tm_hour % 12 == 0 ? 12 : t.tm_hour % 12; }

// One directive; not the process's locale, so that servers agree.
absl::Status AppendDirective(char c, const std::tm& t, std::string* out) {
  switch (c) {
    case 'Y':
      *out += std::to_string(t.tm_year + 1900);
      break;
    case 'y':
      *out += Number(t.tm_year % 100, 2);
      break;
    case 'm':
      *out += Number(t.tm_mon + 1, 2);
      break;
    case 'd':
      *out += Number(t.tm_mday, 2);
      break;
    case 'e':
      *out += t.tm_mday < 10 ? Cat(' ', t.tm_mday) : Number(t.tm_mday, 2);
      break;
    case 'H':
      *out += Number(t.tm_hour, 2);
      break;
    case 'I':
      *out += Number(Hour12(t), 2);
      break;
    case 'M':
      *out += Number(t.tm_min, 2);
      break;
    case 'S':
      *out += Number(t.tm_sec, 2);
      break;
    case 'j':
      *out += Number(t.tm_yday + 1, 3);
      break;
    case 'w':
      *out += std::to_string(t.tm_wday);
      break;
    case 'u':
      *out += std::to_string(t.tm_wday == 0 ? 7 : t.tm_wday);
      break;
    case 'p':
      *out += t.tm_hour < 12 ? "AM" : "PM";
      break;
    case 'A':
      *out += kDays[t.tm_wday];
      break;
    case 'a':
      *out += std::string(kDays[t.tm_wday], 3);
      break;
    case 'B':
      *out += kMonths[t.tm_mon];
      break;
    case 'b':
    case 'h':
      *out += std::string(kMonths[t.tm_mon], 3);
      break;
    case 'n':
      *out += '\n';
      break;
    case 't':
      *out += '\t';
      break;
    case '%':
      *out += '%';
      break;
    default:
      return Error("strftime_now does not know '%", c, "'");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Expand(std::string_view format, const std::tm& t) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    const char c = format[++i];
    std::string_view nested = c == 'F'   ? "%Y-%m-%d"
                              : c == 'T' ? "%H:%M:%S"
                              : c == 'R' ? "%H:%M"
                              : c == 'D' ? "%m/%d/%y"
                                         : "";
    if (nested.empty()) {
      RETURN_IF_ERROR(AppendDirective(c, t, &out));
    } else {
      ASSIGN_OR_RETURN(const std::string expanded, Expand(nested, t));
      out += expanded;
    }
  }
  return out;
}

}  // namespace

absl::StatusOr<std::string> FormatTime(std::string_view format, const std::tm& time) {
  const bool valid = time.tm_wday >= 0 && time.tm_wday < 7 && time.tm_mon >= 0 && time.tm_mon < 12;
  if (!valid) return Error("the time given to the template is invalid");
  return Expand(format, time);
}

}  // namespace lynx::jinja
