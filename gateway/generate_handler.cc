#include "gateway/generate_handler.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "absl/strings/str_cat.h"
#include "gateway/api_error.h"
#include "gateway/random_id.h"
#include "runtime/log.h"
#include "runtime/status.h"
#include "runtime/trace_context.h"

namespace lynx {

namespace asio = boost::asio;

namespace {

// A body of this size is parsed and tokenized in about the time that handing it to another thread
// takes.
constexpr size_t kInlineBodyBytesMax = 8 * 1024;

ResponseMeta MetaOf(bool chat, const std::string& request_id, const std::string& model,
                    uint64_t seed, const v1::Identity& identity) {
  ResponseMeta meta;
  meta.chat = chat;
  meta.id = absl::StrCat(chat ? "chatcmpl-" : "cmpl-", request_id);
  meta.model = model;
  meta.created = absl::ToUnixSeconds(absl::Now());
  meta.seed = seed;
  meta.system_fingerprint = absl::StrCat("fp_", IdentityFingerprint(identity));
  return meta;
}

void PassTraceOn(const HttpRequest& http, std::vector<v1::GenerateRequest>* requests) {
  if (!IsTraceParent(http.trace_parent)) return;  // as the standard wants it
  for (v1::GenerateRequest& request : *requests) {
    request.mutable_trace()->set_parent(http.trace_parent);
    if (IsTraceState(http.trace_state)) request.mutable_trace()->set_state(http.trace_state);
  }
}

// What a decode server said.
void TraceEvent(const TracePtr& trace, const ChoiceEvent& said, Nanos now) {
  if (trace == nullptr) return;
  TraceSpan span{.track = "events", .begin = now, .end = now, .args = {{{"choice", said.choice}}}};
  switch (said.event.event_case()) {
    case v1::GenerateEvent::kTokens:
      span.name = said.event.tokens().provisional() ? "provisional" : "committed";
      span.args[1] = {"index", said.event.tokens().first_index()};
      span.args[2] = {"tokens", said.event.tokens().tokens_size()};
      break;
    case v1::GenerateEvent::kRollbackTo:
      span.name = "rolled back";
      span.args[1] = {"index", said.event.rollback_to()};
      break;
    case v1::GenerateEvent::kFinished:
      span.name = "finished";
      break;
    default:
      return;
  }
  trace->Add(span);
}

// Counts a request for as long as it lives.
class Ticket {
 public:
  explicit Ticket(std::atomic<int64_t>* count) : count_(count), place_(count->fetch_add(1)) {}
  ~Ticket() { count_->fetch_sub(1); }
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;
  int64_t place() const { return place_; }  // how many were there before

 private:
  std::atomic<int64_t>* const count_;
  const int64_t place_;
};

}  // namespace

struct GenerateHandler::Timing {
  absl::Time arrival;
  bool first_seen = false;
  absl::Time first{};              // committed token
  std::vector<absl::Time> last{};  // [choice]
  std::string trace_id{};          // of the client's trace context
  TracePtr trace{};
  Nanos began{0};  // the arrival by the clock of `trace`
};

std::vector<std::string> ModelNames(const GatewayOptions& options, const PoolState& pool) {
  if (!options.served_model_names.empty()) return options.served_model_names;
  if (pool.model_name.empty()) return {};
  return {pool.model_name};
}

absl::Status CheckModelName(const std::vector<std::string>& names, const std::string& name) {
  if (name.empty()) return absl::OkStatus();
  for (const std::string& known : names) {
    if (known == name) return absl::OkStatus();
  }
  return UnknownModel(name);
}

asio::awaitable<void> ReplyError(HttpExchange& exchange, const GatewayOptions& options,
                                 const absl::Status& status) {
  const ApiError error = ToApiError(status, options.retry_after_s);
  HttpResponse response;
  response.status = error.http_status;
  response.body = ToJson(error);
  if (error.retry_after_s > 0) {
    response.headers.emplace_back("Retry-After", absl::StrCat(error.retry_after_s));
  }
  co_await exchange.Reply(std::move(response));
}

asio::awaitable<void> GenerateHandler::Handle(HttpExchange& exchange, bool chat,
                                              std::string request_id) {
  Timing timing{.arrival = absl::Now(), .began = parts_.clock->Now()};
  timing.trace_id = TraceId(exchange.request().trace_parent);
  timing.trace = parts_.traces->Open(request_id, timing.trace_id);
  const Ticket ticket(&active_);
  absl::Status status;
  if (ticket.place() >= parts_.options->max_requests) {
    status = absl::ResourceExhaustedError("The gateway handles as many requests as it may.");
  } else {
    status = co_await Run(exchange, chat, request_id, timing);
  }
  AddSpan(timing.trace, {.track = "request",
                         .name = "request",
                         .begin = timing.began,
                         .end = parts_.clock->Now(),
                         .args = {{{"code", static_cast<int64_t>(status.code())}}}});
  if (status.ok()) co_return;
  if (absl::IsCancelled(status)) {  // nobody is left to be told
    parts_.metrics->ClientGone();
    spdlog::info("request cancelled request={} trace={}", request_id, LogValue(timing.trace_id));
    co_return;
  }
  if (!absl::IsInvalidArgument(status) && !absl::IsNotFound(status)) {
    spdlog::warn("request failed request={} trace={} code={} reason={}", request_id,
                 LogValue(timing.trace_id), absl::StatusCodeToString(status.code()),
                 LogValue(std::string(status.message())));
  } else if (parts_.options->log_requests) {
    spdlog::info("request refused request={} trace={} code={} reason={}", request_id,
                 LogValue(timing.trace_id), absl::StatusCodeToString(status.code()),
                 LogValue(std::string(status.message())));
  }
  if (exchange.status() == 0) {
    co_await ReplyError(exchange, *parts_.options, status);
  } else if (co_await exchange.SendEvent(
                 ToJson(ToApiError(status, parts_.options->retry_after_s)))) {
    co_await exchange.EndEvents();
  }
}

absl::StatusOr<GenerateHandler::Prepared> GenerateHandler::Prepare(
    const std::string& body, bool chat, const std::string& request_id) const {
  const GatewayOptions& options = *parts_.options;
  const PoolState pool = parts_.pool->State();
  const PlanLimits limits = {pool.max_context, options.chat_max_tokens_default};
  const std::vector<std::string> names = ModelNames(options, pool);
  Prepared out;
  const auto admit = [&](GenerationFields& fields) -> absl::Status {
    ApplyDefaultEmission(options.default_emission, &fields);
    if (pool.decode_ready == 0) return absl::UnavailableError(pool.problem);
    out.fields = fields;
    out.model_name = fields.model.empty() ? names.front() : fields.model;
    return CheckModelName(names, fields.model);
  };
  if (chat) {
    ASSIGN_OR_RETURN(ChatRequest request, ParseChatRequest(body, options.limits));
    RETURN_IF_ERROR(admit(request.fields));
    ASSIGN_OR_RETURN(out.plan, PlanChat(request, *parts_.model, limits, request_id, DrawSeed()));
  } else {
    ASSIGN_OR_RETURN(CompletionRequest request, ParseCompletionRequest(body, options.limits));
    RETURN_IF_ERROR(admit(request.fields));
    out.echo = request.echo;
    ASSIGN_OR_RETURN(out.plan,
                     PlanCompletion(request, *parts_.model, limits, request_id, DrawSeed()));
  }
  return out;
}

asio::awaitable<absl::StatusOr<GenerateHandler::Prepared>> GenerateHandler::PrepareAside(
    const std::string& body, bool chat, std::string request_id) const {
  if (body.size() <= kInlineBodyBytesMax) co_return Prepare(body, chat, request_id);
  // A long prompt must not stall the streams of others.
  co_return co_await asio::co_spawn(
      parts_.text_pool->get_executor(),
      [&]() -> asio::awaitable<absl::StatusOr<Prepared>> {
        co_return Prepare(body, chat, request_id);
      },
      asio::use_awaitable);
}

asio::awaitable<absl::Status> GenerateHandler::Run(HttpExchange& exchange, bool chat,
                                                   const std::string& request_id, Timing& timing) {
  const HttpRequest& http = exchange.request();
  if (parts_.options->log_prompts) {
    spdlog::info("request body request={} body={}", request_id, LogValue(http.body));
  }
  absl::StatusOr<Prepared> made =
      co_await PrepareAside(http.body, chat, absl::StrCat(request_id, "-", RandomHex(8)));
  AddSpan(timing.trace, {.track = "request",
                         .name = "template and tokens",
                         .begin = timing.began,
                         .end = parts_.clock->Now()});
  if (!made.ok()) co_return made.status();
  Prepared& prepared = *made;
  PassTraceOn(http, &prepared.plan.requests);
  Generation generation(exchange.executor(), parts_.pool, parts_.progress, prepared.plan.requests,
                        timing.arrival + parts_.options->request_timeout,
                        static_cast<size_t>(parts_.options->max_buffered_events), timing.trace);
  exchange.WatchDisconnect(generation.Abandoner());
  if (absl::Status status = generation.Start(); !status.ok()) co_return status;
  Answer answer(
      &prepared.fields, &prepared.plan, prepared.echo,
      MetaOf(chat, request_id, prepared.model_name, prepared.plan.seed, generation.identity()),
      parts_.model);
  timing.last.assign(prepared.plan.requests.size(), timing.arrival);
  const bool stream = prepared.fields.stream;
  absl::Status status = co_await Pump(exchange, generation, answer, stream, timing);
  if (status.ok()) status = co_await Conclude(exchange, answer, stream);
  if (status.ok()) Account(answer, prepared.plan.requests.size(), request_id, timing);
  co_return status;
}

asio::awaitable<absl::Status> GenerateHandler::Pump(HttpExchange& exchange, Generation& generation,
                                                    Answer& answer, bool stream, Timing& timing) {
  std::vector<ChoiceEvent> events;
  std::vector<std::string> chunks;
  while (!answer.finished()) {
    if (absl::Status s = co_await generation.Next(&events); !s.ok()) co_return s;
    for (const ChoiceEvent& event : events) {
      chunks.clear();
      const int64_t before = answer.completion_tokens(event.choice);
      if (absl::Status s = answer.OnEvent(event.choice, event.event, &chunks); !s.ok()) co_return s;
      const int64_t made = answer.completion_tokens(event.choice) - before;
      if (made > 0) {
        const absl::Time now = absl::Now();
        absl::Time& last = timing.last[event.choice];
        if (!std::exchange(timing.first_seen, true)) {
          timing.first = now;
          parts_.metrics->FirstToken(absl::ToDoubleSeconds(now - timing.arrival));
        } else {
          parts_.metrics->InterToken(absl::ToDoubleSeconds(now - last) / static_cast<double>(made));
        }
        last = now;
      }
      TraceEvent(timing.trace, event, parts_.clock->Now());
      if (answer.finished(event.choice)) generation.Close(event.choice);
      if (!stream) continue;
      if (!co_await SendAll(exchange, chunks))
        co_return absl::CancelledError("The client is gone.");
    }
  }
  co_return absl::OkStatus();
}

// The header goes out with the first chunk: until then an error can still have its own status.
asio::awaitable<bool> GenerateHandler::SendAll(HttpExchange& exchange,
                                               const std::vector<std::string>& chunks) {
  if (!chunks.empty() && exchange.status() == 0 && !co_await exchange.StartEvents()) {
    co_return false;
  }
  for (const std::string& chunk : chunks) {
    if (!co_await exchange.SendEvent(chunk)) co_return false;
  }
  co_return true;
}

asio::awaitable<absl::Status> GenerateHandler::Conclude(HttpExchange& exchange, Answer& answer,
                                                        bool stream) {
  if (!stream) {
    HttpResponse response;
    response.body = answer.Body();
    co_await exchange.Reply(std::move(response));
    co_return absl::OkStatus();
  }
  std::vector<std::string> chunks;
  answer.Tail(&chunks);
  if (!co_await SendAll(exchange, chunks) || !co_await exchange.EndEvents()) {
    co_return absl::CancelledError("The client is gone.");
  }
  co_return absl::OkStatus();
}

void GenerateHandler::Account(const Answer& answer, size_t choices, const std::string& request_id,
                              const Timing& timing) {
  for (size_t i = 0; i < choices; ++i) {
    parts_.metrics->ChoiceFinished(answer.reason(static_cast<int64_t>(i)));
  }
  const Usage usage = answer.usage();
  const absl::Duration total = absl::Now() - timing.arrival;
  parts_.metrics->RequestFinished(absl::ToDoubleSeconds(total), usage.prompt_tokens,
                                  usage.completion_tokens);
  parts_.metrics->Speculation(answer.stats());
  if (!parts_.options->log_requests) return;
  spdlog::info(
      "request done request={} trace={} choices={} prompt_tokens={} tokens={} "
      "first_token_ms={:.1f} "
      "total_ms={:.1f}",
      request_id, LogValue(timing.trace_id), choices, usage.prompt_tokens, usage.completion_tokens,
      timing.first_seen ? absl::ToDoubleMilliseconds(timing.first - timing.arrival) : 0.0,
      absl::ToDoubleMilliseconds(total));
}

}  // namespace lynx
