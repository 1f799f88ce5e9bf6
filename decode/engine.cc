#include "decode/engine.h"

#include <algorithm>

#include "decode/request_report.h"
#include "proto/convert.h"
#include "runtime/trace_context.h"

namespace lynx::decode {
namespace {

// A bad split never gets this far: the configuration is validated.
KvGeometry GeometryOf(const EngineOptions& options, const ModelConfig& config) {
  absl::StatusOr<KvGeometry> geometry = MakeKvGeometry(config, options.target, options.split);
  LYNX_CHECK(geometry.ok());
  return *geometry;
}

SequenceLimits LimitsOf(const v1::GenerateRequest& request, const ModelConfig& config,
                        int64_t max_draft_tokens) {
  SequenceLimits limits{
      .max_tokens = request.max_tokens(),
      .max_draft_tokens = max_draft_tokens,
      .ending_ids = {request.stop_token_ids().begin(), request.stop_token_ids().end()}};
  if (!request.ignore_eos()) {
    limits.ending_ids.insert(limits.ending_ids.end(), config.eos_ids.begin(), config.eos_ids.end());
  }
  return limits;
}

}  // namespace

Engine::Engine(const EngineOptions& options, const ModelConfig& config,
               std::unique_ptr<Backend> backend, const Clock& clock, Receiver& receiver,
               PrefillPeers& peers, RequestSink& sink, std::function<void()> wake)
    : options_(options),
      config_(config),
      backend_(std::move(backend)),
      clock_(clock),
      receiver_(receiver),
      peers_(peers),
      sink_(sink),
      wake_(std::move(wake)),
      geometry_(GeometryOf(options, config)),
      transformer_(backend_->NewTransformer(options.rows_max)),
      row_sampler_(backend_->NewRowSampler(*transformer_)),
      kv_pool_(options.kv_budget_bytes, backend_->page_memory()),
      landing_pool_(
          backend_->wire_memory() == nullptr
              ? nullptr
              : std::make_unique<KvPool>(options.staging_bytes, *backend_->wire_memory())) {
  // A verification pass must fit.
  LYNX_CHECK(options.rows_max > options.max_draft_tokens);
}

Engine::~Engine() = default;

absl::Status Engine::Validate(const v1::GenerateRequest& request) const {
  const int64_t context = options_.max_context > 0 ? options_.max_context : config_.max_context;
  const int64_t prompt = request.prompt_size();
  if (prompt == 0) return absl::InvalidArgumentError("the prompt is empty");
  if (request.max_tokens() < 1) return absl::InvalidArgumentError("max_tokens must be at least 1");
  if (prompt > context || request.max_tokens() > context - prompt) {
    return absl::InvalidArgumentError(absl::StrCat("prompt (", prompt, " tokens) and max_tokens (",
                                                   request.max_tokens(), ") exceed the context of ",
                                                   context, " tokens"));
  }
  if (request.prefill_addresses().empty()) {
    return absl::InvalidArgumentError("no prefill server was named");
  }
  RETURN_IF_ERROR(CheckTokenIds(AsSpan(request.prompt()), config_.vocab, "the prompt"));
  RETURN_IF_ERROR(CheckTokenIds(AsSpan(request.stop_token_ids()), config_.vocab, "stop_token_ids"));
  RETURN_IF_ERROR(CheckSamplingLimits(request.stop_token_ids_size(),
                                      request.sampling().logit_bias_size(), request.logprobs(),
                                      request.prompt_logprobs()));
  const size_t bytes =
      KvSequence::BytesNeeded(geometry_, prompt / kPageTokens, prompt + request.max_tokens());
  if (request.max_tokens() > 1 && bytes > options_.kv_budget_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("prompt and max_tokens need ", bytes,
                                                   " bytes of KV, this server has ",
                                                   options_.kv_budget_bytes));
  }
  const size_t landing = KvSequence::LandingBytesNeeded(geometry_, prompt / kPageTokens,
                                                        prompt + request.max_tokens());
  if (request.max_tokens() > 1 && landing_pool_ != nullptr && landing > options_.staging_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt needs ", landing,
                                                   " bytes of memory to receive its KV in, this "
                                                   "server has ",
                                                   options_.staging_bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<RequestId> Engine::Submit(v1::GenerateRequest request, Nanos deadline) {
  if (draining_) {
    measures_.refused_draining.Add();
    return absl::UnavailableError("this decode server is draining");
  }
  absl::Status valid = Validate(request);
  absl::StatusOr<SamplingParams> sampling = FromProto(request.sampling(), config_.vocab);
  if (valid.ok()) valid = sampling.status();
  if (!valid.ok()) {
    measures_.refused_invalid.Add();
    return valid;
  }
  if (unfinished_.fetch_add(1) >= static_cast<int64_t>(options_.queue_limit)) {
    unfinished_.fetch_sub(1);
    measures_.refused_full.Add();
    return absl::ResourceExhaustedError("this decode server's queue is full");
  }
  measures_.admitted.Add();
  SequenceLimits limits = LimitsOf(request, config_, options_.max_draft_tokens);
  auto submitted =
      std::make_unique<Request>(std::move(request), *std::move(sampling), std::move(limits));
  const RequestId id{next_request_.fetch_add(1)};
  submitted->id = id;
  submitted->submitted = clock_.Now();
  submitted->deadline = deadline;
  if (options_.traces != nullptr) {
    submitted->trace = options_.traces->Open(submitted->proto.request_id(),
                                             TraceId(submitted->proto.trace().parent()));
  }
  Post(Submitted{std::move(submitted)});
  return id;
}

void Engine::Cancel(RequestId request) { Post(Cancelled{request}); }
void Engine::OnAttemptStarted(AttemptId attempt, SessionId session) {
  Post(Started{attempt, session});
}
void Engine::OnAttemptEnded(AttemptId attempt, absl::Status status) {
  Post(Ended{attempt, std::move(status)});
}

void Engine::Post(Mail mail) {
  {
    absl::MutexLock lock(&mail_mu_);
    mail_.push_back(std::move(mail));
  }
  wake_();
}

void Engine::OnPrefillMessage(AttemptId attempt, v1::PrefillToDecode message) {
  // A newer server's message that we do not know.
  if (message.message_case() == v1::PrefillToDecode::MESSAGE_NOT_SET) return;
  {
    absl::MutexLock lock(&mail_mu_);
    auto it = allowances_.find(attempt);
    if (it == allowances_.end()) return;  // the attempt is over
    absl::Status status = it->second.Take(message);
    if (status.ok()) {
      mail_.push_back(FromPrefill{attempt, std::move(message)});
    } else {
      allowances_.erase(it);
      mail_.push_back(Ended{attempt, std::move(status), true});
    }
  }
  wake_();
}

bool Engine::Step() {
  // Polled before the mail is read: what was told before a session ended is then known when its end
  // is handled.
  const std::vector<ReceiverEvent> events = receiver_.PollEvents();
  bool busy = ReadMail();
  busy |= TakeCompletions();
  busy |= HandleReceiverEvents(events);
  busy |= CheckTimers();
  busy |= RestoreTails();
  busy |= RunPass();
  for (RequestId id : removable_) requests_.erase(id);
  removable_.clear();
  PublishStats();
  return busy;
}

bool Engine::ReadMail() {
  std::vector<Mail> mail;
  {
    absl::MutexLock lock(&mail_mu_);
    mail.swap(mail_);
  }
  for (Mail& letter : mail) {
    if (auto* submitted = std::get_if<Submitted>(&letter)) {
      Request& request = *submitted->request;
      requests_.emplace(request.id, std::move(submitted->request));
      StartAttempt(request);
    } else if (auto* cancelled = std::get_if<Cancelled>(&letter)) {
      auto it = requests_.find(cancelled->request);
      if (it != requests_.end()) Fail(*it->second, absl::CancelledError("cancelled by the client"));
    } else if (auto* started = std::get_if<Started>(&letter)) {
      if (Request* request = Find(started->attempt)) request->session = started->session;
    } else if (auto* from = std::get_if<FromPrefill>(&letter)) {
      if (Request* request = Find(from->attempt)) OnMessage(*request, from->message);
    } else if (auto* ended = std::get_if<Ended>(&letter)) {
      OnEnded(*ended);
    }
  }
  return !mail.empty();
}

void Engine::OnEnded(const Ended& ended) {
  Request* request = Find(ended.attempt);
  if (request == nullptr) return;
  if (ended.distrusted) return Distrust(*request, ended.status);
  AttemptFailed(*request, ended.status.ok()
                              ? absl::UnavailableError("the prefill server ended the run early")
                              : ended.status);
}

Request* Engine::Find(AttemptId attempt) {
  auto it = attempts_.find(attempt);
  return it == attempts_.end() ? nullptr : it->second;
}

void Engine::Emit(Request& request, v1::GenerateEvent event) {
  if (request.removed) return;
  if (!sink_.OnEvent(request.id, std::move(event))) {
    Fail(request, absl::CancelledError("the client does not keep up or is gone"));
  }
}

void Engine::Complete(Request& request) {
  if (request.removed) return;
  v1::GenerateEvent event;
  v1::Finished* finished = event.mutable_finished();
  finished->set_reason(request.sequence.finish_reason() == FinishReason::kStop ? v1::FINISH_STOP
                                                                               : v1::FINISH_LENGTH);
  if (request.incoming != nullptr) {
    request.stats.set_anchor_bytes(request.incoming->bytes(BlockClass::kAnchor));
    request.stats.set_residual_bytes(request.incoming->bytes(BlockClass::kResidual));
    request.stats.set_tail_bytes(request.incoming->bytes(BlockClass::kTail));
  }
  *finished->mutable_stats() = request.stats;
  Emit(request, std::move(event));
  Remove(request, absl::OkStatus());
}

void Engine::Fail(Request& request, const absl::Status& status) {
  if (request.removed) return;
  request.sequence.Fail();
  Remove(request, status);
}

void Engine::Remove(Request& request, const absl::Status& status) {
  if (request.removed) return;
  request.removed = true;
  ReportEnd(request, status, clock_.Now(), options_.log_requests);
  CloseAttempt(request);
  ReleaseKv(request);
  removable_.push_back(request.id);
  unfinished_.fetch_sub(1);
  CountEnd(request, status);
  sink_.OnFinished(request.id, status);
}

void Engine::CountEnd(const Request& request, const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      (request.sequence.finish_reason() == FinishReason::kStop ? measures_.finished_stop
                                                               : measures_.finished_length)
          .Add();
      return measures_.decode_s.Observe(clock_.Now() - request.first_token_at);
    case absl::StatusCode::kCancelled:
      return measures_.cancelled.Add();
    case absl::StatusCode::kDeadlineExceeded:
      return measures_.failed_deadline.Add();
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kFailedPrecondition:
      return measures_.failed_prefill.Add();
    default:
      return measures_.failed_internal.Add();
  }
}

double Engine::MsSince(const Request& request) const {
  return std::chrono::duration<double, std::milli>(clock_.Now() - request.submitted).count();
}

Nanos Engine::NextDeadline() const {
  Nanos next = Nanos::max();
  for (const auto& [id, request] : requests_) {
    next = std::min(next, request->deadline);
    if (request->all_sent) next = std::min(next, request->last_arrival + options_.gap_timeout);
  }
  return next;
}

void Engine::PublishStats() {
  EngineStats stats = totals_;
  for (const auto& [id, request] : requests_) {
    (request->kv != nullptr ? stats.running : stats.waiting) += 1;
    const auto state = static_cast<size_t>(request->sequence.state());
    if (state < stats.by_state.size()) ++stats.by_state[state];
    stats.tokens_outstanding += request->prompt_tokens() + request->proto.max_tokens();
  }
  for (const auto& [key, kv] : quarantine_) stats.quarantined_pages += kv->pages();
  stats.kv_used_bytes = kv_pool_.used_bytes();
  stats.kv_budget_bytes = kv_pool_.budget_bytes();
  stats.quarantined_transfers = static_cast<int64_t>(quarantine_.size());
  stats_.Set(stats);
}

}  // namespace lynx::decode
