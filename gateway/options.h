// What the gateway can be told. Plain values; the config file's section is mapped onto this.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gateway/openai_request.h"
#include "runtime/request_trace.h"

namespace lynx {

struct HttpOptions {
  std::string listen_address = "127.0.0.1";
  uint16_t port = 8000;  // 0: any free one
  uint32_t max_header_bytes = 16 * 1024;
  uint64_t max_body_bytes = 16 * 1024 * 1024;  // a 128K-token prompt as ids is about 1 MB
  int64_t max_connections = 4096;              // further ones are told 503 and closed
  absl::Duration header_timeout =
      absl::Seconds(30);  // from the first byte's wait to the last header
  absl::Duration body_timeout = absl::Seconds(60);
  // Clients reuse connections: closing first makes their next request fail now and then.
  absl::Duration keep_alive_timeout = absl::Seconds(180);
  absl::Duration write_timeout =
      absl::Seconds(30);  // a client that takes nothing for so long is gone
};

struct PoolOptions {
  // host:port; a name is a server at each of its addresses. Prefill servers as decode servers reach
  // them.
  std::vector<std::string> decode, prefill;
  absl::Duration resolve_interval = absl::Seconds(1);  // between two look-ups of a name
  absl::Duration info_interval =
      absl::Milliseconds(400);  // how often each server is asked how it is
  absl::Duration info_timeout = absl::Milliseconds(1500);
  double retry_share = 0.2;  // of requests; see retry_budget.h
};

struct GatewayOptions {
  HttpOptions http;
  PoolOptions pool;
  RequestLimits limits;

  int io_threads = 1;    // one holds thousands of streams
  int text_threads = 1;  // tokenize long prompts, so that they do not stall others' streams

  // The names that requests may give for the model; the first stands in answers. Empty: the name
  // that the decode servers report.
  std::vector<std::string> served_model_names;

  std::string api_keys_file;      // one key a line; empty: no key is needed
  std::string cors_allow_origin;  // "": no CORS headers; "*" or one origin

  // Of streamed requests that do not say and for which it is possible (openai_request.h).
  v1::Emission default_emission = v1::EMISSION_VERIFIED;

  // Tokens that a chat may generate if it sets no limit itself: what is left of the context, up to
  // this. Pages for all of them are reserved before the prefill starts, so a high cap admits fewer
  // requests.
  int64_t chat_max_tokens_default = 4096;

  int64_t max_requests = 1024;  // in flight; further ones are told 503 with Retry-After
  int64_t max_buffered_events =
      4096;  // a request that a slow client falls so far behind is cancelled
  int64_t max_grpc_message_bytes = 64 * 1024 * 1024;
  int retry_after_s = 1;                                // 0: refusals carry no Retry-After
  absl::Duration request_timeout = absl::Seconds(600);  // one deadline for all servers and retries
  absl::Duration stall_timeout = absl::Seconds(120);    // no event for so long: /health says 503

  TraceLimits trace;
  bool log_requests = true;  // a line for each request that ends
  bool log_prompts = false;  // bodies of requests too

  bool page = true;          // serves the page (page.h)
  bool vllm_metrics = true;  // also under vLLM's names, for dashboards and endpoint pickers

  // INVALID_ARGUMENT that names the field.
  absl::Status Validate() const;
};

}  // namespace lynx
