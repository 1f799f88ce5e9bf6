// Which request is answered how: authentication, CORS, ids, and every endpoint but the generating
// two.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <functional>

#include "gateway/api_keys.h"
#include "gateway/generate_handler.h"
#include "gateway/http_types.h"
#include "gateway/trace_handler.h"

namespace lynx {

class Router {
 public:
  // `connections` tells how many are open, for /metrics.
  Router(const GatewayParts& parts, ApiKeys keys, std::function<int64_t()> connections);

  boost::asio::awaitable<void> Handle(HttpExchange& exchange);

  // From now on /health says 503, and so does every new request.
  void Drain() { draining_ = true; }

 private:
  boost::asio::awaitable<void> Dispatch(HttpExchange& exchange, const std::string& request_id);
  boost::asio::awaitable<void> Preflight(HttpExchange& exchange);
  boost::asio::awaitable<void> Fail(HttpExchange& exchange, int http_status, std::string type,
                                    std::string message);
  absl::StatusOr<HttpResponse> Answer(const HttpRequest& request);
  absl::Status Health() const;
  absl::StatusOr<HttpResponse> Models(const std::string& path) const;
  absl::StatusOr<HttpResponse> Tokenize(const std::string& body) const;
  absl::StatusOr<HttpResponse> Detokenize(const std::string& body) const;
  HttpResponse Metrics() const;

  const GatewayParts parts_;
  const ApiKeys keys_;
  const std::function<int64_t()> connections_;
  const int64_t started_;  // Unix seconds
  GenerateHandler generate_;
  TraceHandler trace_;
  std::atomic<bool> draining_{false};
};

}  // namespace lynx
