#include "cli/server_url.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"

namespace lynx {

absl::StatusOr<ServerUrl> ParseServerUrl(const std::string& url) {
  const absl::Status wrong = absl::InvalidArgumentError(
      absl::StrCat(url, ": neither http://HOST:PORT/PATH nor grpc://HOST:PORT"));
  ServerUrl out;
  for (const char* scheme : {"http", "grpc"}) {
    if (absl::StartsWith(url, absl::StrCat(scheme, "://"))) out.scheme = scheme;
  }
  if (out.scheme.empty()) return wrong;
  const std::string rest = url.substr(out.scheme.size() + 3);
  const size_t slash = std::min(rest.find('/'), rest.size());
  out.authority = rest.substr(0, slash);
  out.path = slash == rest.size() ? "/" : rest.substr(slash);
  const size_t colon = out.authority.rfind(':');
  if (colon == std::string::npos || (out.scheme == "grpc" && out.path != "/")) return wrong;
  out.host = out.authority.substr(0, colon);
  if (out.host.size() > 2 && out.host.front() == '[' && out.host.back() == ']') {
    out.host = out.host.substr(1, out.host.size() - 2);
  }
  if (!absl::SimpleAtoi(out.authority.substr(colon + 1), &out.port) || out.port < 1 ||
      out.port > 65535 || out.host.empty()) {
    return wrong;
  }
  return out;
}

}  // namespace lynx
