// Addresses of our servers as people write them.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/status.h"

namespace lynx {

struct ServerUrl {
  std::string scheme;  // "http", "grpc"
  std::string host;    // without an IPv6 address' brackets
  int64_t port = 0;
  std::string authority;  // host:port as they were written
  std::string path;       // of http; "/" if none was written
};

// http://HOST:PORT/PATH or grpc://HOST:PORT. INVALID_ARGUMENT: neither.
absl::StatusOr<ServerUrl> ParseServerUrl(const std::string& url);

}  // namespace lynx
