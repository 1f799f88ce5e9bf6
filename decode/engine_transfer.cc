// The decode engine's way to the prompt's KV: attempts at prefill servers, memory, arriving blocks.
#include <algorithm>
#include <cstring>

#include "absl/random/random.h"
#include "decode/engine.h"
#include "decode/request_report.h"
#include "proto/convert.h"

namespace lynx::decode {
namespace {

TransferId RandomTransferId() {
  thread_local absl::BitGen random;
  TransferId id;
  for (size_t i = 0; i < id.bytes.size(); i += sizeof(uint64_t)) {
    const uint64_t bits = random();
    std::memcpy(id.bytes.data() + i, &bits, sizeof bits);
  }
  return id;
}

// Whether another server may do better.
bool WorthAnotherServer(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable ||
         status.code() == absl::StatusCode::kResourceExhausted ||
         status.code() == absl::StatusCode::kFailedPrecondition;
}

}  // namespace

void Engine::StartAttempt(Request& request) {
  measures_.attempts.Add();
  if (request.next_address > 0) measures_.failovers.Add();
  const std::string& address = request.proto.prefill_addresses(request.next_address++);
  request.attempt = AttemptId{next_attempt_++};
  request.attempt_open = true;
  if (request.trace != nullptr) request.trace->AddPeer({address, request.proto.request_id()});
  request.session.reset();
  request.granted = request.all_sent = request.promote_sent = false;
  request.ready_timed = request.anchor_timed = request.target_timed = false;
  request.attempt_began = clock_.Now();
  request.next_prompt_logprob = 1;
  request.key = {RandomTransferId(), request.key.epoch + 1};
  attempts_[request.attempt] = &request;

  v1::RunRequest run;
  run.set_request_id(request.proto.request_id());
  run.set_transfer_id(ToBytes(request.key.id));
  run.set_epoch(request.key.epoch);
  *run.mutable_prompt() = request.proto.prompt();
  *run.mutable_format() = ToProto(geometry_);
  *run.mutable_sampling() = request.proto.sampling();
  *run.mutable_stop_token_ids() = request.proto.stop_token_ids();
  run.set_ignore_eos(request.proto.ignore_eos());
  run.set_min_tokens(request.proto.min_tokens());
  run.set_logprobs(request.proto.logprobs());
  run.set_prompt_logprobs(request.proto.prompt_logprobs());
  run.set_transfer_kv(!request.first_token_only());
  *run.mutable_trace() = request.proto.trace();
  {
    absl::MutexLock lock(&mail_mu_);
    allowances_.emplace(request.attempt, RunAllowance(run, geometry_));
  }
  peers_.Start(request.attempt, address, std::move(run), request.deadline);
}

void Engine::OnMessage(Request& request, const v1::PrefillToDecode& message) {
  switch (message.message_case()) {
    case v1::PrefillToDecode::kReady:
      return OnReady(request);
    case v1::PrefillToDecode::kRawPages:
      if (request.incoming == nullptr) {
        return Distrust(request, absl::InvalidArgumentError("raw pages before the grant"));
      }
      for (const v1::BlockId& page : message.raw_pages().pages()) {
        request.raw_waiting.push_back({page.layer(), BlockKind::kRawPage, page.page()});
      }
      ++request.raw_messages;
      return GrantRawPages(request);
    case v1::PrefillToDecode::kPromptLogprobs:
      return OnPromptLogprobs(request, message.prompt_logprobs());
    case v1::PrefillToDecode::kFirstToken:
      return OnFirstToken(request, message.first_token());
    case v1::PrefillToDecode::kAllSent:
      request.all_sent = request.granted;
      request.last_arrival = clock_.Now();
      return;
    case v1::PrefillToDecode::MESSAGE_NOT_SET:
      return;  // not posted
  }
}

// A second attempt begins anew; what the client has heard is left out, its values are the same.
void Engine::OnPromptLogprobs(Request& request, const v1::PromptLogprobs& logprobs) {
  const int64_t first = logprobs.first_position();
  const int64_t end = first + logprobs.tokens_size();
  if (first != request.next_prompt_logprob || end > request.prompt_tokens()) {
    return Distrust(request, absl::InvalidArgumentError("unexpected prompt log-probabilities"));
  }
  request.next_prompt_logprob = end;
  const int64_t begin = std::max(first, request.prompt_logprobs_sent + 1);
  if (begin >= end) return;
  v1::GenerateEvent event;
  v1::PromptLogprobs* out = event.mutable_prompt_logprobs();
  out->set_first_position(begin);
  for (int64_t position = begin; position < end; ++position) {
    *out->add_tokens() = logprobs.tokens(static_cast<int>(position - first));
  }
  request.prompt_logprobs_sent = end - 1;
  Emit(request, std::move(event));
}

// The prefill is about to start: all memory now, or "not yet".
void Engine::OnReady(Request& request) {
  v1::DecodeToPrefill reply;
  if (request.granted) return;
  const Nanos now = clock_.Now();
  if (!std::exchange(request.ready_timed, true)) {
    measures_.ready_wait_s.Observe(now - request.attempt_began);
  }
  if (request.first_token_only()) {
    measures_.queue_s.Observe(now - request.submitted);
    request.granted_at = now;
    reply.mutable_grant();
    return peers_.Send(request.attempt, std::move(reply));
  }
  if (!request.session.has_value() || lost_sessions_.Contains(*request.session)) {
    return AttemptFailed(request,
                         absl::UnavailableError("no data connection to the prefill server"));
  }
  const int64_t prompt = request.prompt_tokens();
  // Requests that hold memory already, and need a little more, come first.
  if (!RawPagesWait())
    request.kv =
        KvSequence::Create(geometry_, prompt / kPageTokens, prompt + request.proto.max_tokens(),
                           {.pages = &kv_pool_, .landing = landing_pool_.get()});
  if (request.kv == nullptr) {
    {
      absl::MutexLock lock(&mail_mu_);
      auto allowance = allowances_.find(request.attempt);
      if (allowance != allowances_.end()) allowance->second.AllowReady();
    }
    measures_.not_yet.Add();
    AddMoment(request.trace, "request", "no memory yet", clock_.Now());
    reply.mutable_not_yet();
    return peers_.Send(request.attempt, std::move(reply));
  }
  request.incoming = std::make_unique<IncomingKv>(prompt, request.kv.get(), &backend_->kv_ops());
  absl::Status status = receiver_.Grant(request.key, *request.session, request.incoming->Grants());
  if (!status.ok()) return AttemptFailed(request, status);
  request.granted = true;
  measures_.queue_s.Observe(now - request.submitted);
  request.granted_at = now;
  AddSpan(request.trace, {.track = "request",
                          .name = "wait for a prefill server",
                          .begin = request.attempt_began,
                          .end = clock_.Now()});
  transfers_[request.key] = &request;
  reply.mutable_grant();
  peers_.Send(request.attempt, std::move(reply));
}

void Engine::OnFirstToken(Request& request, const v1::FirstToken& first) {
  const int32_t id = first.token().id();
  if (request.sequence.state() != State::kWaiting || id < 0 || id >= config_.vocab) {
    return Distrust(request, absl::InvalidArgumentError("unexpected first token"));
  }
  request.sequence.CommitFirst(id);
  request.history.Push(id);
  request.stats.set_first_token_ms(MsSince(request));
  request.first_token_at = clock_.Now();
  measures_.first_token_s.Observe(request.first_token_at - request.submitted);
  measures_.prefill_s.Observe(request.first_token_at - request.granted_at);
  AddMoment(request.trace, "tokens", "first token", clock_.Now());
  EmitCommitted(request, 0, {first.token()});
  if (request.sequence.state() == State::kDone) Complete(request);
}

// Memory for pages that could not be coded: asked for again each step until there is room. If
// nobody else can give memory back, there never will be.
void Engine::GrantRawPages(Request& request) {
  if (request.raw_waiting.empty() || request.incoming == nullptr) return;
  absl::StatusOr<IncomingKv::RawPlan> plan = request.incoming->AddRawPages(request.raw_waiting);
  if (absl::IsResourceExhausted(plan.status())) {
    const bool others = std::any_of(requests_.begin(), requests_.end(), [](const auto& entry) {
      return entry.second->kv != nullptr && entry.second->raw_waiting.empty();
    });
    if (!others && quarantine_.empty()) AttemptFailed(request, plan.status());
    return;
  }
  absl::Status status = plan.status();
  if (status.ok()) status = receiver_.Excuse(request.key, plan->excused);
  if (status.ok()) status = receiver_.AddGrant(request.key, std::move(plan->grants));
  if (!status.ok()) return Distrust(request, status);
  request.raw_waiting.clear();
  TimeArrivals(request);
  for (; request.raw_messages > 0; --request.raw_messages) {
    v1::DecodeToPrefill reply;
    reply.mutable_raw_grant();
    peers_.Send(request.attempt, std::move(reply));
  }
  if (request.incoming->target_complete()) KvComplete(request);
}

bool Engine::RawPagesWait() const {
  return std::any_of(requests_.begin(), requests_.end(),
                     [](const auto& entry) { return !entry.second->raw_waiting.empty(); });
}

void Engine::AttemptFailed(Request& request, const absl::Status& status) {
  (absl::IsUnavailable(status)          ? measures_.attempts_unavailable
   : absl::IsResourceExhausted(status)  ? measures_.attempts_full
   : absl::IsFailedPrecondition(status) ? measures_.attempts_mismatched
                                        : measures_.attempts_other)
      .Add();
  AddMoment(request.trace, "request", "attempt failed", clock_.Now(),
            {"code", static_cast<int64_t>(status.code())});
  CloseAttempt(request);
  ReleaseKv(request);
  const bool untouched = request.sequence.state() == State::kWaiting;
  if (untouched && WorthAnotherServer(status) &&
      request.next_address < request.proto.prefill_addresses_size()) {
    return StartAttempt(request);
  }
  Fail(request, Annotate(status, absl::StrCat("prefill server ", request.proto.prefill_addresses(
                                                                     request.next_address - 1))));
}

// The prefill server broke the protocol, which is not the client's fault: another one may do
// better.
void Engine::Distrust(Request& request, const absl::Status& status) {
  if (request.attempt_open) peers_.Distrust(request.attempt);
  AttemptFailed(request, absl::UnavailableError(status.message()));
}

// Nothing more is wanted from the prefill.
void Engine::CloseAttempt(Request& request) {
  if (!request.attempt_open) return;
  ForgetAttempt(request);
  peers_.Cancel(request.attempt);
}

void Engine::ForgetAttempt(Request& request) {
  request.attempt_open = false;
  attempts_.erase(request.attempt);
  absl::MutexLock lock(&mail_mu_);
  allowances_.erase(request.attempt);
}

void Engine::ReleaseKv(Request& request) {
  // Nothing that is queued may reach its memory once it is somebody else's.
  if (request.kv != nullptr) backend_->kv_ops().WaitFor(backend_->kv_ops().Now());
  if (request.granted && transfers_.erase(request.key) > 0) {
    absl::StatusOr<bool> safe = receiver_.Revoke(request.key);
    if (safe.ok() && !*safe) quarantine_[request.key] = std::move(request.kv);
  }
  request.granted = false;
  request.raw_waiting.clear();
  request.raw_messages = 0;
  // `incoming` stays for its byte counts; it is not used any more without `kv`.
  if (!request.removed) request.incoming.reset();
  request.kv.reset();
}

bool Engine::TakeCompletions() {
  const std::vector<Completion> completions = receiver_.PollCompleted();
  for (const Completion& completion : completions) {
    auto it = transfers_.find(completion.transfer);
    if (it == transfers_.end()) continue;
    Request& request = *it->second;
    request.last_arrival = clock_.Now();
    TraceFrame(request, completion);
    absl::Status status = request.incoming->OnCompletion(completion);
    if (!status.ok()) {
      Distrust(request, status);
      continue;
    }
    TimeArrivals(request);
    if (request.incoming->target_complete()) KvComplete(request);
  }
  return !completions.empty();
}

void Engine::TimeArrivals(Request& request) {
  const Nanos since_grant = clock_.Now() - request.granted_at;
  if (!request.anchor_timed && request.incoming->anchor_complete()) {
    request.anchor_timed = true;
    measures_.anchor_s.Observe(since_grant);
  }
  if (!request.target_timed && request.incoming->target_complete()) {
    request.target_timed = true;
    measures_.target_s.Observe(since_grant);
  }
}

// Every block is in and restored: the prefill may free its side, and the transfer is over on ours.
void Engine::KvComplete(Request& request) {
  if (!request.attempt_open) return;
  if (request.sequence.state() == State::kWaiting) return;  // the first token is still to come
  AddMoment(request.trace, "request", "KV complete", clock_.Now());
  v1::DecodeToPrefill done;
  done.set_done(true);
  peers_.Send(request.attempt, std::move(done));
  ForgetAttempt(request);
  transfers_.erase(request.key);
  receiver_.Revoke(request.key).status().IgnoreError();  // complete: nothing can be landing
  if (landing_pool_ != nullptr) {
    backend_->kv_ops().WaitFor(backend_->kv_ops().Now());
    request.kv->FreeLandings();
  }
  request.granted = false;
  request.all_sent = false;
}

bool Engine::HandleReceiverEvents(std::span<const ReceiverEvent> events) {
  for (const ReceiverEvent& event : events) {
    if (event.type == ReceiverEvent::Type::kMemorySafe) {
      quarantine_.erase(event.transfer);
    } else if (event.type == ReceiverEvent::Type::kGap) {
      auto it = transfers_.find(event.transfer);
      if (it != transfers_.end()) AskForMissing(*it->second);
    } else if (event.type == ReceiverEvent::Type::kSessionDown) {
      peers_.SessionLost(event.session);
      lost_sessions_.Add(event.session);
      for (auto& [id, request] : requests_) {
        if (request->removed || !request->attempt_open || request->first_token_only() ||
            request->session != event.session) {
          continue;
        }
        AttemptFailed(*request, absl::UnavailableError(absl::StrCat(
                                    "the data connection was lost: ", event.status.message())));
      }
    }
  }
  return !events.empty();
}

void Engine::AskForMissing(Request& request) {
  absl::StatusOr<std::vector<BlockId>> missing = receiver_.Missing(request.key, kMissingBlocksMax);
  request.last_arrival = clock_.Now();
  if (!missing.ok() || missing->empty()) return;
  measures_.gap_questions.Add();
  measures_.missing_blocks.Add(missing->size());
  AddMoment(request.trace, "request", "blocks asked for again", clock_.Now(),
            {"blocks", std::ssize(*missing)});
  v1::DecodeToPrefill message;
  for (const BlockId& id : *missing) {
    v1::BlockId* block = message.mutable_missing()->add_blocks();
    block->set_layer(id.layer);
    block->set_kind(static_cast<uint32_t>(id.kind));
    block->set_page(id.page);
  }
  peers_.Send(request.attempt, std::move(message));
}

bool Engine::CheckTimers() {
  bool any = false;
  const Nanos now = clock_.Now();
  for (auto& [id, request] : requests_) {
    if (request->removed) continue;
    if (now >= request->deadline) {
      Fail(*request, absl::DeadlineExceededError("the request's deadline has passed"));
      any = true;
      continue;
    }
    if (!request->raw_waiting.empty()) GrantRawPages(*request);
    if (request->all_sent && now >= request->last_arrival + options_.gap_timeout) {
      AskForMissing(*request);
      any = true;
    }
  }
  return any;
}

bool Engine::RestoreTails() {
  int64_t left = options_.restore_pages_per_step;
  for (auto& [id, request] : requests_) {
    if (request->removed || request->incoming == nullptr || !request->attempt_open) continue;
    absl::StatusOr<int64_t> done = request->incoming->Restore(left);
    if (!done.ok()) {
      Distrust(*request, done.status());
      continue;
    }
    left -= *done;
    if (*done > 0) TimeArrivals(*request);
    if (*done > 0 && request->incoming->target_complete()) KvComplete(*request);
  }
  return left < options_.restore_pages_per_step;
}

}  // namespace lynx::decode
