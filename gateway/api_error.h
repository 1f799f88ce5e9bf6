// What a client is told when a request fails. Inside the gateway errors are an absl::Status; the
// parameter and the machine-readable code that OpenAI clients read travel as payloads of it.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace lynx {

// The `error` object of a response, with the status line that goes with it.
struct ApiError {
  int http_status = 500;
  std::string message;
  std::string type;       // "invalid_request_error", "server_error", ...
  std::string param;      // the request's field; empty: null
  std::string code;       // empty: null
  int retry_after_s = 0;  // 0: no Retry-After header
};

// INVALID_ARGUMENT that names the request's field. `code` may be empty.
absl::Status BadField(std::string_view param, std::string_view message, std::string_view code = "");

// NOT_FOUND with the code "model_not_found".
absl::Status UnknownModel(std::string_view model);

// `retry_after_s` is given to the client with every 503.
ApiError ToApiError(const absl::Status& status, int retry_after_s);

// {"error":{...}}
std::string ToJson(const ApiError& error);

}  // namespace lynx
