// GET /lynx/trace/{request}: what every server did for a request, as Chrome's trace format.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>

#include "gateway/generate_handler.h"
#include "gateway/http_types.h"

namespace lynx {

class TraceHandler {
 public:
  explicit TraceHandler(const GatewayParts& parts) : parts_(parts) {}

  // 404: this gateway did not see the request, or has forgotten it. Servers that do not answer in
  // time are named in the trace.
  boost::asio::awaitable<void> Handle(HttpExchange& exchange, std::string request_id);

 private:
  struct Question;
  struct Round;
  boost::asio::awaitable<std::vector<absl::StatusOr<v1::TraceReply>>> Ask(
      const boost::asio::any_io_executor& executor, const std::vector<Question>& questions);

  const GatewayParts parts_;
};

}  // namespace lynx
