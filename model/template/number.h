// Numbers as Python prints and reads them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lynx::jinja {

// repr(float): the shortest digits that read back as `d`.
std::string FormatFloat(double d);
// int(text, base) and float(text): surrounding spaces and single underscores between digits are
// allowed. False: not a number, or an integer beyond 64 bits.
bool ParseInt(std::string_view text, int base, int64_t* out);
bool ParseFloat(std::string_view text, double* out);

}  // namespace lynx::jinja
