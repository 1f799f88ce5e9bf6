#include "gateway/generate_handler.h"

#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "absl/strings/str_cat.h"
#include "gateway/api_error.h"
#include "gateway/random_id.h"
#include "runtime/status.h"

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
  std::vector<absl::Time> last;  // [choice]
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
  const absl::Time arrival = absl::Now();
  const Ticket ticket(&active_);
  absl::Status status;
  if (ticket.place() >= parts_.options->max_requests) {
    status = absl::ResourceExhaustedError("The gateway handles as many requests as it may.");
  } else {
    status = co_await Run(exchange, chat, request_id, arrival);
  }
  if (status.ok()) co_return;
  if (absl::IsCancelled(status)) {  // nobody is left to be told
    parts_.metrics->ClientGone();
    spdlog::info("request cancelled request={}", request_id);
    co_return;
  }
  if (!absl::IsInvalidArgument(status) && !absl::IsNotFound(status)) {
    spdlog::warn("request failed request={} code={} reason=\"{}\"", request_id,
                 absl::StatusCodeToString(status.code()), std::string(status.message()));
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
                                                   const std::string& request_id,
                                                   absl::Time arrival) {
  absl::StatusOr<Prepared> made = co_await PrepareAside(
      exchange.request().body, chat, absl::StrCat(request_id, "-", RandomHex(8)));
  if (!made.ok()) co_return made.status();
  const Prepared& prepared = *made;
  Generation generation(exchange.executor(), parts_.pool, parts_.progress, prepared.plan.requests,
                        arrival + parts_.options->request_timeout,
                        static_cast<size_t>(parts_.options->max_buffered_events));
  exchange.WatchDisconnect(generation.Abandoner());
  if (absl::Status status = generation.Start(); !status.ok()) co_return status;
  Answer answer(
      &prepared.fields, &prepared.plan, prepared.echo,
      MetaOf(chat, request_id, prepared.model_name, prepared.plan.seed, generation.identity()),
      parts_.model);
  Timing timing{arrival, false, std::vector<absl::Time>(prepared.plan.requests.size(), arrival)};
  const bool stream = prepared.fields.stream;
  absl::Status status = co_await Pump(exchange, generation, answer, stream, timing);
  if (status.ok()) status = co_await Conclude(exchange, answer, stream);
  if (status.ok()) Account(answer, prepared.plan.requests.size(), arrival);
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
          parts_.metrics->FirstToken(absl::ToDoubleSeconds(now - timing.arrival));
        } else {
          parts_.metrics->InterToken(absl::ToDoubleSeconds(now - last) / static_cast<double>(made));
        }
        last = now;
      }
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

void GenerateHandler::Account(const Answer& answer, size_t choices, absl::Time arrival) {
  for (size_t i = 0; i < choices; ++i) {
    parts_.metrics->ChoiceFinished(answer.reason(static_cast<int64_t>(i)));
  }
  const Usage usage = answer.usage();
  parts_.metrics->RequestFinished(absl::ToDoubleSeconds(absl::Now() - arrival), usage.prompt_tokens,
                                  usage.completion_tokens);
  parts_.metrics->Speculation(answer.stats());
}

}  // namespace lynx
