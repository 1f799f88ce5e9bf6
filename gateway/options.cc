#include "gateway/options.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "runtime/status.h"

namespace lynx {
namespace {

absl::Status AtLeast(const char* name, int64_t value, int64_t min) {
  if (value >= min) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("gateway: ", name, " must be at least ", min, "; it is ", value));
}

absl::Status Positive(const char* name, absl::Duration value) {
  if (value > absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("gateway: ", name, " must be above 0"));
}

}  // namespace

absl::Status GatewayOptions::Validate() const {
  if (pool.decode.empty()) return absl::InvalidArgumentError("pools: decode is empty");
  if (pool.prefill.empty()) return absl::InvalidArgumentError("pools: prefill is empty");
  RETURN_IF_ERROR(AtLeast("io_threads", io_threads, 1));
  RETURN_IF_ERROR(AtLeast("text_threads", text_threads, 1));
  RETURN_IF_ERROR(AtLeast("max_header_bytes", http.max_header_bytes, 1024));
  RETURN_IF_ERROR(AtLeast("max_body_bytes", static_cast<int64_t>(http.max_body_bytes), 1024));
  RETURN_IF_ERROR(AtLeast("max_connections", http.max_connections, 1));
  RETURN_IF_ERROR(AtLeast("chat_max_tokens_default", chat_max_tokens_default, 1));
  RETURN_IF_ERROR(AtLeast("max_requests", max_requests, 1));
  RETURN_IF_ERROR(AtLeast("max_buffered_events", max_buffered_events, 16));
  RETURN_IF_ERROR(AtLeast("max_grpc_message_bytes", max_grpc_message_bytes, 1024 * 1024));
  if (max_grpc_message_bytes > std::numeric_limits<int>::max()) {  // what gRPC can be told
    return absl::InvalidArgumentError("gateway: max_grpc_message_bytes must be below 2 GiB");
  }
  RETURN_IF_ERROR(AtLeast("retry_after_s", retry_after_s, 0));
  RETURN_IF_ERROR(Positive("header_timeout", http.header_timeout));
  RETURN_IF_ERROR(Positive("body_timeout", http.body_timeout));
  RETURN_IF_ERROR(Positive("keep_alive_timeout", http.keep_alive_timeout));
  RETURN_IF_ERROR(Positive("write_timeout", http.write_timeout));
  RETURN_IF_ERROR(Positive("resolve_interval", pool.resolve_interval));
  RETURN_IF_ERROR(Positive("info_interval", pool.info_interval));
  RETURN_IF_ERROR(Positive("info_timeout", pool.info_timeout));
  RETURN_IF_ERROR(Positive("request_timeout", request_timeout));
  RETURN_IF_ERROR(Positive("stall_timeout", stall_timeout));
  if (!(pool.retry_share >= 0.0 && pool.retry_share <= 1.0)) {
    return absl::InvalidArgumentError("pools: retry_share must be from 0 to 1");
  }
  return absl::OkStatus();
}

}  // namespace lynx
