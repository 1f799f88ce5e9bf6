#include "runtime/trace_context.h"

#include <algorithm>

namespace lynx {
namespace {

// 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
constexpr size_t kTraceIdAt = 3, kTraceIdSize = 32, kParentIdAt = 36, kParentIdSize = 16;
constexpr size_t kFlagsAt = 53, kSize = 55;
constexpr size_t kTraceStateSizeMax = 512;  // that everyone must be able to pass on

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// All zeros is no id.
bool IsId(std::string_view text) {
  return IsHex(text) && text.find_first_not_of('0') != std::string_view::npos;
}

}  // namespace

bool IsTraceParent(std::string_view header) {
  if (header.size() < kSize) return false;
  const std::string_view version = header.substr(0, 2);
  const bool longer = version != "00" && header.size() > kSize && header[kSize] == '-';
  const bool printable =
      std::all_of(header.begin(), header.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  return IsHex(version) && version != "ff" && (header.size() == kSize || longer) && printable &&
         header[2] == '-' && header[kParentIdAt - 1] == '-' && header[kFlagsAt - 1] == '-' &&
         IsId(header.substr(kTraceIdAt, kTraceIdSize)) &&
         IsId(header.substr(kParentIdAt, kParentIdSize)) && IsHex(header.substr(kFlagsAt, 2)) &&
         header.size() <= kTraceStateSizeMax;
}

bool IsTraceState(std::string_view header) {
  return !header.empty() && header.size() <= kTraceStateSizeMax &&
         std::all_of(header.begin(), header.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

std::string_view TraceId(std::string_view parent) {
  return IsTraceParent(parent) ? parent.substr(kTraceIdAt, kTraceIdSize) : std::string_view();
}

}  // namespace lynx
