#include "gateway/api_error.h"

#include <nlohmann/json.hpp>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace lynx {
namespace {

constexpr char kParamUrl[] = "lynx/param";
constexpr char kCodeUrl[] = "lynx/code";

std::string Payload(const absl::Status& status, absl::string_view url) {
  absl::optional<absl::Cord> payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : std::string();
}

absl::string_view Absl(std::string_view s) { return {s.data(), s.size()}; }

struct Mapping {
  int http_status;
  const char* type;
  bool retry;
};

Mapping MapCode(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return {400, "invalid_request_error", false};
    case absl::StatusCode::kUnauthenticated:
      return {401, "authentication_error", false};
    case absl::StatusCode::kNotFound:
      return {404, "not_found_error", false};
    // The request is fine and the servers will do again: clients retry 503.
    case absl::StatusCode::kResourceExhausted:
      return {503, "overloaded_error", true};
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kFailedPrecondition:
      return {503, "service_unavailable_error", true};
    case absl::StatusCode::kDeadlineExceeded:
      return {504, "timeout_error", false};
    case absl::StatusCode::kCancelled:
      return {503, "service_unavailable_error", true};
    default:
      return {500, "server_error", false};
  }
}

nlohmann::ordered_json OrNull(const std::string& s) {
  return s.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(s);
}

}  // namespace

absl::Status BadField(std::string_view param, std::string_view message, std::string_view code) {
  absl::Status status = absl::InvalidArgumentError(Absl(message));
  if (!param.empty()) status.SetPayload(kParamUrl, absl::Cord(Absl(param)));
  if (!code.empty()) status.SetPayload(kCodeUrl, absl::Cord(Absl(code)));
  return status;
}

absl::Status UnknownModel(std::string_view model) {
  absl::Status status =
      absl::NotFoundError(absl::StrCat("The model `", Absl(model), "` does not exist."));
  status.SetPayload(kParamUrl, absl::Cord("model"));
  status.SetPayload(kCodeUrl, absl::Cord("model_not_found"));
  return status;
}

ApiError ToApiError(const absl::Status& status, int retry_after_s) {
  const Mapping mapping = MapCode(status.code());
  ApiError error;
  error.http_status = mapping.http_status;
  error.message = std::string(status.message());
  error.type = mapping.type;
  error.param = Payload(status, kParamUrl);
  error.code = Payload(status, kCodeUrl);
  error.retry_after_s = mapping.retry ? retry_after_s : 0;
  return error;
}

std::string ToJson(const ApiError& error) {
  nlohmann::ordered_json inner;
  inner["message"] = error.message;
  inner["type"] = error.type;
  inner["param"] = OrNull(error.param);
  inner["code"] = OrNull(error.code);
  nlohmann::ordered_json outer;
  outer["error"] = std::move(inner);
  // Messages may quote what a client sent: bytes that are not UTF-8 are replaced.
  return outer.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace lynx
