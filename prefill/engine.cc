#include "prefill/engine.h"

#include <algorithm>
#include <limits>

#include "proto/convert.h"

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
  if (draining_) return absl::UnavailableError("this prefill server is draining");
  RETURN_IF_ERROR(Validate(request));
  auto run = std::make_unique<Run>();
  run->key = {*TransferIdFromBytes(request.transfer_id()), request.epoch()};
  run->geometry = *FromProto(request.format(), config_);
  run->sampling = *FromProto(request.sampling(), config_.vocab);
  run->request = std::move(request);
  run->session = session;
  run->deadline = deadline;
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
  if (unfinished_.fetch_add(1) >= static_cast<int64_t>(options_.queue_limit)) {
    unfinished_.fetch_sub(1);
    return absl::ResourceExhaustedError("this prefill server's queue is full");
  }
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

bool Engine::ReadMail() {
  std::vector<std::unique_ptr<Run>> submitted;
  std::vector<std::pair<RunId, v1::DecodeToPrefill>> letters;
  std::vector<std::pair<RunId, absl::Status>> cancelled;
  {
    absl::MutexLock lock(&mail_mu_);
    submitted.swap(mail_.submitted);
    cancelled.swap(mail_.cancelled);
    for (auto& [run, mail] : mail_.letters) {
      for (v1::DecodeToPrefill& letter : mail.Take()) letters.emplace_back(run, std::move(letter));
    }
  }
  for (auto& run : submitted) TakeIn(std::move(run));
  for (const auto& [id, letter] : letters) {
    auto it = runs_.find(id);
    if (it != runs_.end()) OnMessage(*it->second, letter);
  }
  for (const auto& [run, why] : cancelled) Finish(run, why);
  return !submitted.empty() || !letters.empty() || !cancelled.empty();
}

void Engine::TakeIn(std::unique_ptr<Run> run) {
  const RunId id = run->id;
  const bool lost = run->request.transfer_kv() && lost_sessions_.Contains(run->session);
  runs_.emplace(id, std::move(run));
  if (lost) Finish(id, absl::UnavailableError("the data connection was lost"));
}

// Says something to the decode server.
void Engine::Tell(const Run& run, v1::PrefillToDecode message) {
  {
    absl::MutexLock lock(&mail_mu_);
    mail_.letters.at(run.id).Told(message);
  }
  sink_.OnMessage(run.id, std::move(message));
}

void Engine::OnMessage(Run& run, const v1::DecodeToPrefill& message) {
  switch (message.message_case()) {
    case v1::DecodeToPrefill::kGrant:
      return OnGrant(run);
    case v1::DecodeToPrefill::kNotYet:
      if (run.phase != Phase::kAsked) return;
      ReleaseRun(run, places_);
      run.phase = Phase::kQueued;
      run.not_before = clock_.Now() + options_.not_yet_retry;
      return;
    case v1::DecodeToPrefill::kMissing:
      return OnMissing(run, message.missing());
    case v1::DecodeToPrefill::kPromote:
      if (run.transfer_begun) sender_.Promote(run.key).IgnoreError();
      return;
    case v1::DecodeToPrefill::kRawGrant:
      return OnRawGrant(run);
    case v1::DecodeToPrefill::kDone:
      return Finish(run.id, absl::OkStatus());
    case v1::DecodeToPrefill::kRun:
    case v1::DecodeToPrefill::MESSAGE_NOT_SET:
      return;  // not posted
  }
}

void Engine::OnGrant(Run& run) {
  if (run.phase != Phase::kAsked) return;
  run.phase = Phase::kComputing;
  if (!run.request.transfer_kv()) return;
  if (awaiting_release_.contains(run.key)) {
    return Finish(run.id, absl::AlreadyExistsError("this transfer id is in use"));
  }
  absl::Status status = sender_.Begin(run.key, run.session);
  if (status.ok()) status = sender_.Granted(run.key);
  run.transfer_begun = status.ok();
  if (!status.ok()) Finish(run.id, Annotate(status, "cannot begin the transfer"));
}

// One grant for each list of raw pages that was told, in order.
void Engine::OnRawGrant(Run& run) {
  if (run.raw_told.empty() || !run.transfer_begun) return;
  std::vector<BlockData> blocks;
  for (const BlockId& id : run.raw_told.front()) {
    absl::StatusOr<BlockData> block = FindBlock(run, id);
    if (block.ok()) blocks.push_back(*block);
  }
  run.raw_told.pop_front();
  absl::Status status = sender_.Offer(run.key, blocks);
  if (!status.ok()) Finish(run.id, Annotate(status, "cannot send raw pages"));
}

void Engine::OnMissing(Run& run, const v1::Missing& missing) {
  std::vector<BlockId> ids;
  for (const v1::BlockId& block : missing.blocks()) {
    if (block.kind() >= kBlockKinds) continue;
    ids.push_back({block.layer(), static_cast<BlockKind>(block.kind()), block.page()});
  }
  if (run.transfer_begun) sender_.Resend(run.key, ids).status().IgnoreError();
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
    any = true;
    v1::PrefillToDecode message;
    message.set_ready(true);
    Tell(*run, std::move(message));
  }
  return any;
}

bool Engine::RunChunk() {
  std::vector<Run*> runs;
  std::vector<int64_t> counts;
  std::vector<PassRows> pass;
  int64_t rows = 0;
  for (auto& [id, run] : runs_) {
    if (run->phase != Phase::kComputing || rows == options_.chunk_tokens) continue;
    const int64_t count =
        std::min(run->prompt_tokens() - run->position, options_.chunk_tokens - rows);
    pass.push_back({.tokens = AsSpan(run->request.prompt()).subspan(run->position, count),
                    .first_position = run->position,
                    .kv = run->kv.get(),
                    .view = KvView::kTarget});
    runs.push_back(run.get());
    counts.push_back(count);
    rows += count;
  }
  if (runs.empty()) return false;
  pass_runs_ = runs;
  transformer_->Forward(PassKind::kPrefill, pass,
                        {.queued = [&](int layer) { QueueLayer(layer, counts); },
                         .done = [&](int layer) { OfferLayer(layer); }});
  int64_t base = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    FinishChunk(*runs[i], base, counts[i]);
    base += counts[i];
  }
  prompt_tokens_ += rows;
  ++steps_;
  return true;
}

void Engine::QueueLayer(int layer, std::span<const int64_t> counts) {
  std::vector<LayerBlocks>& made = pass_blocks_[layer];
  made.clear();
  made.reserve(pass_runs_.size());  // queued jobs stay where they are
  for (size_t i = 0; i < pass_runs_.size(); ++i) {
    Run& run = *pass_runs_[i];
    made.push_back(run.transfer_begun ? QueueBlocks(run, layer, counts[i], backend_->kv_ops())
                                      : LayerBlocks{});
  }
}

void Engine::OfferLayer(int layer) {
  for (size_t i = 0; i < pass_runs_.size(); ++i) {
    Run& run = *pass_runs_[i];
    const LayerBlocks& made = pass_blocks_[layer][i];
    backend_->kv_ops().WaitFor(made.queued);
    if (!run.transfer_begun || !run.failure.ok()) continue;
    absl::StatusOr<std::vector<BlockData>> blocks =
        ListBlocks(run, layer, made, places_, backend_->kv_ops());
    run.failure = blocks.status();
    // It fails only if the transfer is gone, and then its session's end is reported too.
    if (blocks.ok() && !blocks->empty()) sender_.Offer(run.key, *blocks).IgnoreError();
  }
}

void Engine::FinishChunk(Run& run, int64_t row_base, int64_t count) {
  if (!run.failure.ok()) return Finish(run.id, run.failure);
  if (run.request.prompt_logprobs() >= 0) SendPromptLogprobs(run, row_base, count);
  run.position += count;
  if (!run.raw_pages.empty()) {
    backend_->kv_ops().WaitFor(backend_->kv_ops().Now());  // their copies
    v1::PrefillToDecode message;
    for (const BlockId& id : run.raw_pages) {
      v1::BlockId* page = message.mutable_raw_pages()->add_pages();
      page->set_layer(id.layer);
      page->set_page(id.page);
    }
    run.raw_told.push_back(std::move(run.raw_pages));
    run.raw_pages.clear();
    Tell(run, std::move(message));
  }
  if (run.position < run.prompt_tokens()) return;
  absl::Status status = SendFirstToken(run, row_base + count - 1);
  if (!status.ok()) return Finish(run.id, status);
  run.phase = Phase::kSent;
  v1::PrefillToDecode message;
  message.set_all_sent(true);
  Tell(run, std::move(message));
}

void Engine::SendPromptLogprobs(Run& run, int64_t row_base, int64_t count) {
  // Row i predicts the token behind it; the prompt's last row predicts the first generated token.
  const int64_t last = std::min(count, run.prompt_tokens() - 1 - run.position);
  for (int64_t begin = 0; begin < last; begin += Transformer::kLogitRowsMax) {
    const int64_t end = std::min(begin + Transformer::kLogitRowsMax, last);
    std::vector<int64_t> rows;
    for (int64_t i = begin; i < end; ++i) rows.push_back(row_base + i);
    const float* logits = transformer_->Logits(rows);
    v1::PrefillToDecode message;
    v1::PromptLogprobs* out = message.mutable_prompt_logprobs();
    out->set_first_position(run.position + begin + 1);
    for (int64_t i = begin; i < end; ++i) {
      *out->add_tokens() = MakeTokenInfo(logits + (i - begin) * config_.vocab, config_.vocab,
                                         run.request.prompt(static_cast<int>(run.position + i + 1)),
                                         run.request.prompt_logprobs());
    }
    Tell(run, std::move(message));
  }
}

absl::Status Engine::SendFirstToken(Run& run, int64_t last_row) {
  const int64_t rows[] = {last_row};
  const float* logits = transformer_->Logits(rows);
  std::vector<int32_t> ending(run.request.stop_token_ids().begin(),
                              run.request.stop_token_ids().end());
  if (!run.request.ignore_eos()) {
    ending.insert(ending.end(), config_.eos_ids.begin(), config_.eos_ids.end());
  }
  std::span<const int32_t> banned;
  if (run.request.min_tokens() > 0) banned = ending;
  const TokenCounts history{AsSpan(run.request.prompt())};
  const SampleResult sample =
      sampler_.Sample(logits, config_.vocab, run.sampling, history, run.prompt_tokens(), banned);
  if (sample.invalid_logits) {
    return absl::InternalError("the model gave logits that are not finite");
  }
  v1::PrefillToDecode message;
  v1::FirstToken* first = message.mutable_first_token();
  *first->mutable_token() = MakeTokenInfo(logits, config_.vocab, sample.id, run.request.logprobs());
  first->set_ends_text(std::find(ending.begin(), ending.end(), sample.id) != ending.end());
  Tell(run, std::move(message));
  return absl::OkStatus();
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
    stats.prompt_tokens_outstanding += run->prompt_tokens() - run->position;
  }
  stats.kv_used_bytes = page_pool_.used_bytes();
  stats.kv_budget_bytes = page_pool_.budget_bytes();
  stats.prompt_tokens = prompt_tokens_;
  stats.steps = steps_;
  absl::MutexLock lock(&stats_mu_);
  stats_ = stats;
}

EngineStats Engine::stats() const {
  absl::MutexLock lock(&stats_mu_);
  return stats_;
}

}  // namespace lynx::prefill
