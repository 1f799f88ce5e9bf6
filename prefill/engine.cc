#include "prefill/engine.h"

#include <algorithm>
#include <limits>

#include "prefill/run_report.h"
#include "proto/convert.h"
#include "runtime/trace_context.h"

namespace lynx::prefill {

Engine::Engine(const EngineOptions& options, const ModelConfig& config,
               std::unique_ptr<Backend> backend, const Clock& clock, Sender& sender, RunSink& sink,
               std::function<void()> wake)
    : options_(options),
      config_(config),
      backend_(std::move(backend)),
      clock_(clock),
      sender_(sender),
      sink_(sink),
      wake_(std::move(wake)),
      transformer_(backend_->NewTransformer(options.chunk_tokens)),
      row_sampler_(backend_->NewRowSampler(*transformer_)),
      page_pool_(options.kv_budget_bytes, backend_->page_memory()),
      sent_pool_(backend_->wire_memory() == nullptr
                     ? nullptr
                     : std::make_unique<KvPool>(options.staging_bytes, *backend_->wire_memory())),
      places_{.pages = &page_pool_, .sent = sent_pool_.get()},
      pass_blocks_(config.layers) {}

Engine::~Engine() {
  // The channel is gone by now (it must not outlive what it reads), so nothing references the
  // blocks.
  for (auto& [id, run] : runs_) ReleaseRun(*run, places_);
  for (auto& [key, run] : awaiting_release_) ReleaseRun(*run, places_);
}

absl::Status Engine::Validate(const v1::RunRequest& request) const {
  const int64_t context = options_.max_context > 0 ? options_.max_context : config_.max_context;
  if (request.prompt_size() == 0) return absl::InvalidArgumentError("the prompt is empty");
  if (request.prompt_size() > context) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has ", request.prompt_size(), " tokens, the context ", context));
  }
  RETURN_IF_ERROR(CheckTokenIds(AsSpan(request.prompt()), config_.vocab, "the prompt"));
  RETURN_IF_ERROR(CheckTokenIds(AsSpan(request.stop_token_ids()), config_.vocab, "stop_token_ids"));
  RETURN_IF_ERROR(CheckSamplingLimits(request.stop_token_ids_size(),
                                      request.sampling().logit_bias_size(), request.logprobs(),
                                      request.prompt_logprobs()));
  RETURN_IF_ERROR(FromProto(request.sampling(), config_.vocab).status());
  RETURN_IF_ERROR(TransferIdFromBytes(request.transfer_id()).status());
  ASSIGN_OR_RETURN(const KvGeometry geometry, FromProto(request.format(), config_));
  if (geometry.target != options_.target) {
    return absl::FailedPreconditionError(
        absl::StrCat("this server's KV target is ", ToAbsl(KvTargetName(options_.target)), ", not ",
                     ToAbsl(KvTargetName(geometry.target))));
  }
  return absl::OkStatus();
}

absl::StatusOr<RunId> Engine::Submit(v1::RunRequest request, SessionId session, Nanos deadline) {
  if (draining_) {
    measures_.refused_draining.Add();
    return absl::UnavailableError("this prefill server is draining");
  }
  absl::StatusOr<std::unique_ptr<Run>> made = MakeRun(std::move(request), session, deadline);
  if (!made.ok()) {
    measures_.refused_invalid.Add();
    return made.status();
  }
  std::unique_ptr<Run> run = *std::move(made);
  if (unfinished_.fetch_add(1) >= static_cast<int64_t>(options_.queue_limit)) {
    unfinished_.fetch_sub(1);
    measures_.refused_full.Add();
    return absl::ResourceExhaustedError("this prefill server's queue is full");
  }
  measures_.admitted.Add();
  const RunId id{next_run_.fetch_add(1)};
  run->id = id;
  {
    absl::MutexLock lock(&mail_mu_);
    mail_.submitted.push_back(std::move(run));
    mail_.letters.try_emplace(id);
  }
  wake_();
  return id;
}

absl::StatusOr<std::unique_ptr<Run>> Engine::MakeRun(v1::RunRequest request, SessionId session,
                                                     Nanos deadline) const {
  RETURN_IF_ERROR(Validate(request));
  auto run = std::make_unique<Run>();
  run->key = {*TransferIdFromBytes(request.transfer_id()), request.epoch()};
  run->geometry = *FromProto(request.format(), config_);
  run->sampling = *FromProto(request.sampling(), config_.vocab);
  run->request = std::move(request);
  run->session = session;
  run->deadline = deadline;
  run->submitted = clock_.Now();
  if (RunBytes(*run) > options_.kv_budget_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt needs ", RunBytes(*run),
                                                   " bytes of KV, this server has ",
                                                   options_.kv_budget_bytes));
  }
  if (sent_pool_ != nullptr && SentBytes(*run) > options_.staging_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt needs ", SentBytes(*run),
                                                   " bytes of memory to send its KV from, this "
                                                   "server has ",
                                                   options_.staging_bytes));
  }
  if (options_.traces != nullptr) {
    run->trace =
        options_.traces->Open(run->request.request_id(), TraceId(run->request.trace().parent()));
  }
  return run;
}

absl::Status Engine::Post(RunId run, v1::DecodeToPrefill message) {
  {
    absl::MutexLock lock(&mail_mu_);
    auto it = mail_.letters.find(run);
    if (it == mail_.letters.end()) return absl::OkStatus();
    RETURN_IF_ERROR(it->second.Add(std::move(message)));
  }
  wake_();
  return absl::OkStatus();
}

void Engine::Cancel(RunId run, absl::Status why) {
  {
    absl::MutexLock lock(&mail_mu_);
    mail_.cancelled.emplace_back(run, std::move(why));
  }
  wake_();
}

bool Engine::Step() {
  bool busy = ReadMail();
  busy |= HandleSenderEvents();
  busy |= ExpireRuns();
  busy |= AskForGrants();
  busy |= RunChunk();
  PublishStats();
  return busy;
}

bool Engine::HandleSenderEvents() {
  bool any = false;
  for (const SenderEvent& event : sender_.PollEvents()) {
    any = true;
    if (event.type == SenderEvent::Type::kReleased) {
      auto it = awaiting_release_.find(event.transfer);
      if (it == awaiting_release_.end()) continue;
      ReleaseRun(*it->second, places_);
      awaiting_release_.erase(it);
    } else if (event.type == SenderEvent::Type::kSessionDown) {
      lost_sessions_.Add(event.session);
      std::vector<RunId> lost;
      for (const auto& [id, run] : runs_) {
        if (run->session == event.session && run->request.transfer_kv()) lost.push_back(id);
      }
      for (RunId id : lost) {
        Finish(id, absl::UnavailableError(
                       absl::StrCat("the data connection was lost: ", event.status.message())));
      }
    }
  }
  return any;
}

bool Engine::ExpireRuns() {
  std::vector<RunId> late;
  for (const auto& [id, run] : runs_) {
    if (clock_.Now() >= run->deadline) late.push_back(id);
  }
  for (RunId id : late)
    Finish(id, absl::DeadlineExceededError("the request's deadline has passed"));
  return !late.empty();
}

// Reserves memory for queued runs in order of arrival. A run that finds no room holds back later
// ones, so that long prompts are not starved by short ones; one that was told "not yet" holds
// nobody back.
bool Engine::AskForGrants() {
  bool any = false;
  for (auto& [id, run] : runs_) {
    if (run->phase != Phase::kQueued || clock_.Now() < run->not_before) continue;
    if (!ReserveRun(*run, places_)) break;
    run->phase = Phase::kAsked;
    run->asked = clock_.Now();
    TraceWait(*run, "wait for memory", std::max(run->submitted, run->not_before), run->asked);
    any = true;
    v1::PrefillToDecode message;
    message.set_ready(true);
    Tell(*run, std::move(message));
  }
  return any;
}

void Engine::Finish(RunId id, const absl::Status& status) {
  auto it = runs_.find(id);
  if (it == runs_.end()) return;
  std::unique_ptr<Run> run = std::move(it->second);
  runs_.erase(it);
  {
    absl::MutexLock lock(&mail_mu_);
    mail_.letters.erase(id);
  }
  unfinished_.fetch_sub(1);
  CountEnd(*run, status);
  ReportEnd(*run, status, clock_.Now(), options_.log_requests);
  // Nothing that is queued may reach its memory once it is somebody else's.
  if (run->kv != nullptr) backend_->kv_ops().WaitFor(backend_->kv_ops().Now());
  bool released = true;
  if (run->transfer_begun) {
    absl::StatusOr<bool> ended = sender_.End(run->key);
    released = !ended.ok() || *ended;
  }
  if (released) {
    ReleaseRun(*run, places_);
  } else {
    const TransferKey key = run->key;
    awaiting_release_.emplace(key, std::move(run));
  }
  sink_.OnFinished(id, status);
}

void Engine::CountEnd(const Run& run, const absl::Status& status) {
  if (run.phase == Phase::kSent) measures_.kept_s.Observe(clock_.Now() - run.first_token_at);
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return measures_.finished.Add();
    case absl::StatusCode::kCancelled:
      return measures_.cancelled.Add();
    case absl::StatusCode::kDeadlineExceeded:
      return measures_.failed_deadline.Add();
    case absl::StatusCode::kUnavailable:
      return measures_.failed_unavailable.Add();
    default:
      return measures_.failed_internal.Add();
  }
}

Nanos Engine::NextDeadline() const {
  Nanos next = Nanos::max();
  for (const auto& [id, run] : runs_) {
    next = std::min(next, run->deadline);
    // A run that waits for memory alone is looked at when another one ends.
    if (run->phase == Phase::kQueued && run->not_before > clock_.Now()) {
      next = std::min(next, run->not_before);
    }
  }
  return next;
}

void Engine::PublishStats() {
  EngineStats stats;
  for (const auto& [id, run] : runs_) {
    const bool waits = run->phase == Phase::kQueued || run->phase == Phase::kAsked;
    (waits ? stats.waiting : stats.running) += 1;
    ++stats.by_phase[static_cast<size_t>(run->phase)];
    stats.tokens_outstanding += run->prompt_tokens() - run->position;
  }
  stats.kv_used_bytes = page_pool_.used_bytes();
  stats.kv_budget_bytes = page_pool_.budget_bytes();
  stats.prompt_tokens = prompt_tokens_;
  stats.steps = steps_;
  stats_.Set(stats);
}

}  // namespace lynx::prefill
