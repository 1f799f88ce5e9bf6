// GET over a blocking socket, for asking a server of ours something.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/clock.h"
#include "runtime/status.h"

namespace lynx {

struct HttpReply {
  int status = 0;
  std::string body;
};

struct HttpQuestion {
  std::string host;  // a name or an address
  int64_t port = 0;
  std::string path;
  std::string api_key{};  // empty: none is sent
  Nanos timeout = std::chrono::seconds(10);
};

// UNAVAILABLE: cannot connect, or the reply ended too early or is no HTTP. DEADLINE_EXCEEDED.
// RESOURCE_EXHAUSTED: the reply is beyond 256 MiB.
absl::StatusOr<HttpReply> HttpGet(const HttpQuestion& question);

// The status code alone; 0 if there is no answer in time.
int HttpGetStatus(const std::string& host, int64_t port, const std::string& path, Nanos timeout);

}  // namespace lynx
