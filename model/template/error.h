// Short ways to build the errors of a template. Lines are added by the parser and the interpreter.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace lynx::jinja {

namespace internal {
inline void Put(std::string& out, std::string_view s) { out.append(s); }
inline void Put(std::string& out, long long n) { out.append(std::to_string(n)); }
inline void Put(std::string& out, unsigned long n) { out.append(std::to_string(n)); }
inline void Put(std::string& out, long n) { out.append(std::to_string(n)); }
inline void Put(std::string& out, int n) { out.append(std::to_string(n)); }
inline void Put(std::string& out, char c) { out.push_back(c); }
}  // namespace internal

template <typename... Parts>
std::string Cat(const Parts&... parts) {
  std::string out;
  (internal::Put(out, parts), ...);
  return out;
}

template <typename... Parts>
absl::Status Error(const Parts&... parts) {
  return absl::InvalidArgumentError(Cat(parts...));
}

}  // namespace lynx::jinja
