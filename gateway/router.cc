#include "gateway/router.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gateway/api_error.h"
#include "gateway/logprob_json.h"
#include "gateway/page.h"
#include "gateway/pool_json.h"
#include "gateway/random_id.h"
#include "gateway/utf8.h"
#include "runtime/status.h"

namespace lynx {

namespace asio = boost::asio;

namespace {

constexpr char kVersion[] = "0.1.0";
constexpr size_t kRequestIdBytesMax = 128;
constexpr char kModelPath[] = "/v1/models/";
constexpr char kTracePath[] = "/lynx/trace/";

// What a client sends goes into headers, logs and ids: only if it is harmless there.
std::string RequestId(const std::string& sent) {
  bool good = !sent.empty() && sent.size() <= kRequestIdBytesMax;
  for (char c : sent) good &= absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  return good ? sent : RandomHex(32);
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// A path's segment as it was meant: clients escape a model name's spaces and slashes. What is no
// escape stays.
std::string Unescaped(const std::string& segment) {
  std::string out;
  for (size_t i = 0; i < segment.size(); ++i) {
    const bool room = segment[i] == '%' && segment.size() - i > 2;
    const int high = room ? HexDigit(segment[i + 1]) : -1;
    const int low = room ? HexDigit(segment[i + 2]) : -1;
    if (high < 0 || low < 0) {
      out.push_back(segment[i]);
    } else {
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  return out;
}

// The route as metrics name it: a fixed set, whatever clients ask for.
std::string RouteName(const std::string& path) {
  for (const char* known :
       {"/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics", "/version",
        "/tokenize", "/detokenize", "/", "/page.css", "/page.js", "/lynx/pool"}) {
    if (path == known) return path;
  }
  for (const char* folder : {kModelPath, kTracePath}) {
    if (absl::StartsWith(path, folder)) return std::string(folder, std::strlen(folder) - 1);
  }
  return "other";
}

bool IsOpen(const std::string& path) {
  return path == "/health" || path == "/metrics" || path == "/version" || PageFile(path);
}

bool IsPost(const std::string& path) {
  return path == "/tokenize" || path == "/detokenize" || path == "/v1/completions" ||
         path == "/v1/chat/completions";
}

HttpResponse JsonReply(const OrderedJson& json) {
  HttpResponse response;
  response.body = json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  return response;
}

}  // namespace

Router::Router(const GatewayParts& parts, ApiKeys keys, std::function<int64_t()> connections)
    : parts_(parts),
      keys_(std::move(keys)),
      connections_(std::move(connections)),
      started_(absl::ToUnixSeconds(absl::Now())),
      generate_(parts),
      trace_(parts) {}

asio::awaitable<void> Router::Handle(HttpExchange& exchange) {
  const HttpRequest& request = exchange.request();
  const std::string request_id = RequestId(request.request_id_header);
  exchange.AddHeader("X-Request-Id", request_id);
  exchange.AddHeader("X-Content-Type-Options", "nosniff");
  const std::string& origin = parts_.options->cors_allow_origin;
  if (!origin.empty()) {
    exchange.AddHeader("Access-Control-Allow-Origin", origin);
    exchange.AddHeader("Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
    if (origin != "*") exchange.AddHeader("Vary", "Origin");
  }
  if (request.method == "OPTIONS" && !origin.empty()) {
    co_await Preflight(exchange);
  } else if (!IsOpen(request.path) && !keys_.Allows(request.authorization)) {
    co_await ReplyError(exchange, *parts_.options,
                        absl::UnauthenticatedError("A valid API key is needed: \"Authorization: "
                                                   "Bearer KEY\"."));
  } else {
    co_await Dispatch(exchange, request_id);
  }
  parts_.metrics->Http(RouteName(request.path), exchange.status());
}

asio::awaitable<void> Router::Preflight(HttpExchange& exchange) {
  HttpResponse response;
  response.status = 204;
  response.headers = {{"Access-Control-Allow-Methods", "GET, POST, OPTIONS"},
                      {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id"},
                      {"Access-Control-Max-Age", "86400"}};
  co_await exchange.Reply(std::move(response));
}

asio::awaitable<void> Router::Fail(HttpExchange& exchange, int http_status, std::string type,
                                   std::string message) {
  ApiError error;
  error.http_status = http_status;
  error.type = std::move(type);
  error.message = std::move(message);
  HttpResponse response;
  response.status = http_status;
  response.body = ToJson(error);
  co_await exchange.Reply(std::move(response));
}

asio::awaitable<void> Router::Dispatch(HttpExchange& exchange, const std::string& request_id) {
  const HttpRequest& request = exchange.request();
  const std::string& path = request.path;
  const bool of_page = path == kPoolPath || PageFile(path);
  if (RouteName(path) == "other" || (of_page && !parts_.options->page)) {
    co_return co_await Fail(exchange, 404, "not_found_error",
                            absl::StrCat("There is nothing at ", request.method, " ", path, "."));
  }
  const bool get = request.method == "GET" || request.method == "HEAD";
  if (IsPost(path) ? request.method != "POST" : !get) {
    exchange.AddHeader("Allow", IsPost(path) ? "POST" : "GET, HEAD");
    co_return co_await Fail(exchange, 405, "invalid_request_error",
                            absl::StrCat(path, " does not answer ", request.method, "."));
  }
  if (draining_ && !IsOpen(path)) {
    co_return co_await ReplyError(exchange, *parts_.options,
                                  absl::UnavailableError("The server is shutting down."));
  }
  if (path == "/v1/chat/completions" || path == "/v1/completions") {
    co_return co_await generate_.Handle(exchange, path == "/v1/chat/completions", request_id);
  }
  if (absl::StartsWith(path, kTracePath)) {
    co_return co_await trace_.Handle(exchange, path.substr(sizeof kTracePath - 1));
  }
  absl::StatusOr<HttpResponse> response = Answer(request);
  if (!response.ok()) co_return co_await ReplyError(exchange, *parts_.options, response.status());
  co_await exchange.Reply(*std::move(response));
}

absl::StatusOr<HttpResponse> Router::Answer(const HttpRequest& request) {
  if (request.path == "/version") return JsonReply({{"version", kVersion}});
  if (request.path == "/metrics") return Metrics();
  if (request.path == "/tokenize") return Tokenize(request.body);
  if (request.path == "/detokenize") return Detokenize(request.body);
  if (request.path == kPoolPath) return JsonReply(PoolJson(parts_.pool->State()));
  if (std::optional<HttpResponse> file = PageFile(request.path)) return *std::move(file);
  if (request.path == "/health") {
    RETURN_IF_ERROR(Health());
    return JsonReply({{"status", "ok"}});
  }
  return Models(request.path);
}

absl::Status Router::Health() const {
  if (draining_) return absl::UnavailableError("The server is shutting down.");
  const PoolState pool = parts_.pool->State();
  if (pool.decode_ready == 0) return absl::UnavailableError(pool.problem);
  if (parts_.progress->Stalled(parts_.options->stall_timeout)) {
    return absl::UnavailableError("Requests are in flight and none of them makes progress.");
  }
  return absl::OkStatus();
}

absl::StatusOr<HttpResponse> Router::Models(const std::string& path) const {
  const PoolState pool = parts_.pool->State();
  const std::vector<std::string> names = ModelNames(*parts_.options, pool);
  // Kubernetes takes this for readiness.
  if (pool.decode_ready == 0) return absl::UnavailableError(pool.problem);
  const bool all = path == "/v1/models";
  const std::string wanted = all ? "" : Unescaped(path.substr(sizeof kModelPath - 1));
  OrderedJson data = OrderedJson::array();
  for (const std::string& name : names) {
    OrderedJson model = {{"id", name},         {"object", "model"},       {"created", started_},
                         {"owned_by", "lynx"}, {"root", pool.model_name}, {"parent", nullptr}};
    model["max_model_len"] = pool.max_context;
    if (!all && name == wanted) return JsonReply(model);
    data.push_back(std::move(model));
  }
  if (!all) return UnknownModel(wanted);
  return JsonReply({{"object", "list"}, {"data", std::move(data)}});
}

absl::StatusOr<HttpResponse> Router::Tokenize(const std::string& body) const {
  const PoolState pool = parts_.pool->State();
  ASSIGN_OR_RETURN(const TokenizeRequest request, ParseTokenizeRequest(body));
  RETURN_IF_ERROR(CheckModelName(ModelNames(*parts_.options, pool), request.model));
  const TextModel& model = *parts_.model;
  absl::StatusOr<std::vector<int32_t>> ids =
      request.prompt ? model.Encode(*request.prompt, request.add_special_tokens)
                     : model.EncodeChat({request.messages, request.template_kwargs,
                                         request.add_generation_prompt});
  if (!ids.ok()) {
    const absl::string_view message = ids.status().message();
    return BadField(request.prompt ? "prompt" : "messages", {message.data(), message.size()});
  }
  OrderedJson json = {
      {"count", ids->size()}, {"max_model_len", pool.max_context}, {"tokens", *ids}};
  json["token_strs"] = nullptr;
  if (request.return_token_strs) {
    json["token_strs"] = OrderedJson::array();
    for (int32_t id : *ids) json["token_strs"].push_back(TokenString(model, id, false));
  }
  return JsonReply(json);
}

absl::StatusOr<HttpResponse> Router::Detokenize(const std::string& body) const {
  const PoolState pool = parts_.pool->State();
  ASSIGN_OR_RETURN(const DetokenizeRequest request, ParseDetokenizeRequest(body));
  RETURN_IF_ERROR(CheckModelName(ModelNames(*parts_.options, pool), request.model));
  std::string bytes;
  for (int32_t id : request.tokens) {
    if (id >= parts_.model->vocab_size()) {
      return BadField("tokens", absl::StrCat("The model has no token ", id, "."));
    }
    parts_.model->AppendTokenBytes(id, /*skip_special=*/false, &bytes);
  }
  return JsonReply({{"prompt", LossyUtf8(bytes)}});
}

HttpResponse Router::Metrics() const {
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body =
      parts_.metrics->Text(parts_.pool->State(), parts_.progress->in_flight(), connections_());
  return response;
}

}  // namespace lynx
