// Answers GET /metrics over HTTP/1.1, for servers that have no other HTTP.
//
// Everything happens on one thread of its own, so that nobody else ever waits for a scrape.
// Whoever connects and says nothing costs a socket: when there are too many connections, the oldest
// one gives way to the newest, and a request that does not come in time ends its connection.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "runtime/status.h"

namespace lynx {

struct MetricsServerOptions {
  std::string listen_address = "127.0.0.1";  // IPv4 or IPv6
  int64_t port = 0;                          // 0: any free one
  size_t connections_max = 64;
  std::chrono::milliseconds request_timeout{5000};  // from the connection to the request's end
  std::chrono::milliseconds answer_timeout{10000};  // for a client that reads slowly
};

class MetricsServer {
 public:
  // `text` makes the answer's body in Prometheus' text format; it is called on the server's thread,
  // one call at a time, until the destructor. UNAVAILABLE: cannot listen. INVALID_ARGUMENT: no IP
  // address.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const MetricsServerOptions& options,
                                                              std::function<std::string()> text);
  // Cuts what is open and waits for the thread.
  virtual ~MetricsServer() = default;

  virtual int port() const = 0;
};

}  // namespace lynx
