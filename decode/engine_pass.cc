// The decode engine's passes: sequences that draft, verify and decode plainly, side by side.
#include <algorithm>

#include "decode/engine.h"
#include "decode/request_report.h"
#include "proto/convert.h"

namespace lynx::decode {
namespace {

std::vector<v1::TokenInfo> InfosOf(std::span<const SampledToken> tokens) {
  std::vector<v1::TokenInfo> infos;
  for (const SampledToken& t : tokens) infos.push_back(MakeTokenInfo(t.sample.id, t.logprobs));
  return infos;
}

}  // namespace

// Brings the request's state up to what has arrived. True if it has rows for the next pass.
bool Engine::Advance(Request& request) {
  Sequence& sequence = request.sequence;
  if (request.removed || request.incoming == nullptr) return false;
  if (sequence.state() == State::kDrafting && request.incoming->target_complete()) {
    KvComplete(request);
    for (int64_t i = 0; i < sequence.drafted(); ++i) request.history.Pop();
    sequence.BeginVerification();
  }
  switch (sequence.state()) {
    case State::kVerifying:
    case State::kDecoding:
      return true;
    case State::kDrafting:
      if (!geometry_.has_residual() || request.kv->code_pages() == 0) return false;
      if (!request.incoming->anchor_complete()) return false;
      if (sequence.CanPropose()) return true;
      if (!request.promote_sent) {
        v1::DecodeToPrefill promote;
        promote.set_promote(true);
        peers_.Send(request.attempt, std::move(promote));
        measures_.promotions.Add();
        request.promote_sent = true;
      }
      return false;
    default:
      return false;
  }
}

bool Engine::AddGroup(Request& request, std::vector<RowGroup>* groups, int64_t* rows) {
  const Sequence& sequence = request.sequence;
  RowGroup group{.request = &request, .state = sequence.state()};
  if (sequence.state() == State::kVerifying) {
    group.tokens = sequence.VerificationRows();
    group.first_index = static_cast<int64_t>(sequence.committed().size()) - 1;
  } else {
    group.tokens = {sequence.LastToken()};
    group.first_index = sequence.LastIndex();
  }
  if (*rows + static_cast<int64_t>(group.tokens.size()) > options_.rows_max) return false;
  *rows += static_cast<int64_t>(group.tokens.size());
  groups->push_back(std::move(group));
  return true;
}

bool Engine::RunPass() {
  // Committed work first, drafts in the rows that are left; each from where the last pass ended.
  std::vector<Request*> commit, draft;
  for (auto& [id, request] : requests_) {
    if (!Advance(*request)) continue;
    (request->sequence.state() == State::kDrafting ? draft : commit).push_back(request.get());
  }
  std::vector<RowGroup> groups;
  int64_t rows = 0;
  const Request* skipped = nullptr;
  for (std::vector<Request*>* list : {&commit, &draft}) {
    auto next = std::find_if(list->begin(), list->end(),
                             [&](const Request* r) { return r->id > last_served_; });
    std::rotate(list->begin(), next, list->end());
    for (Request* request : *list) {
      if (!AddGroup(*request, &groups, &rows) && skipped == nullptr) skipped = request;
    }
  }
  if (groups.empty()) return false;
  // Who did not fit comes first in the next pass, where it does.
  last_served_ = skipped != nullptr ? RequestId{static_cast<uint64_t>(skipped->id) - 1}
                                    : groups.back().request->id;

  std::vector<PassRows> pass;
  for (const RowGroup& group : groups) {
    pass.push_back({.tokens = group.tokens,
                    .first_position = group.request->PositionOf(group.first_index),
                    .kv = group.request->kv.get(),
                    .view = group.state == State::kDrafting ? KvView::kDraft : KvView::kTarget});
  }
  const Nanos began = clock_.Now();
  transformer_->Forward(PassKind::kDecode, pass);
  SampleRows(groups);
  CountPass(groups, rows, began);
  const Nanos ended = clock_.Now();
  for (RowGroup& group : groups) {
    TraceRows(*group.request, group.state, group.first_index, std::ssize(group.tokens), rows, began,
              ended);
    FinishGroup(group);
  }
  ++totals_.steps;
  return true;
}

void Engine::CountPass(std::span<const RowGroup> groups, int64_t rows, Nanos began) {
  measures_.pass_s.Observe(clock_.Now() - began);
  measures_.pass_rows.Observe(static_cast<double>(rows));
  for (const RowGroup& group : groups) {
    if (group.state == State::kVerifying) measures_.verifications.Add();
    (group.state == State::kDrafting    ? measures_.rows_drafting
     : group.state == State::kVerifying ? measures_.rows_verifying
                                        : measures_.rows_decoding)
        .Add(group.tokens.size());
  }
}

// Samples the token behind each row. In a verification, rows behind the first that disagrees are
// passed over: they saw a token that the text does not have.
void Engine::SampleRows(std::vector<RowGroup>& groups) {
  std::vector<SampleChain> chains;
  int64_t row = 0;
  for (RowGroup& group : groups) {
    Request& request = *group.request;
    const int64_t index = group.first_index + 1;  // of the token behind the first row
    chains.push_back({.first_row = row,
                      .drafts = std::span(group.tokens).subspan(1),
                      .params = &request.sampling,
                      .history = &request.history,
                      .position = request.PositionOf(index),
                      .banned = request.ending_ids,
                      .banned_rows = request.proto.min_tokens() - index,
                      .logprobs = group.state == State::kDrafting ? -1 : request.proto.logprobs()});
    row += std::ssize(group.tokens);
  }
  std::vector<std::vector<SampledToken>> sampled = row_sampler_->Sample(chains);
  for (size_t i = 0; i < groups.size(); ++i) groups[i].sampled = std::move(sampled[i]);
}

void Engine::FinishGroup(RowGroup& group) {
  Request& request = *group.request;
  if (request.removed) return;
  if (std::any_of(group.sampled.begin(), group.sampled.end(),
                  [](const SampledToken& t) { return t.sample.invalid_logits; })) {
    return Fail(request, absl::InternalError("the model gave logits that are not finite"));
  }
  switch (group.state) {
    case State::kDrafting:
      return FinishDraft(group);
    case State::kVerifying:
      FinishVerification(group);
      break;
    default:
      request.sequence.CommitOne(group.sampled[0].sample.id);
      EmitCommitted(request, group.first_index + 1, InfosOf(group.sampled));
  }
  if (request.sequence.state() == State::kDone) Complete(request);
}

void Engine::FinishDraft(RowGroup& group) {
  Request& request = *group.request;
  const SampleResult& draft = group.sampled[0].sample;
  request.sequence.Propose(draft.id, static_cast<float>(draft.margin));
  request.stats.set_drafted(request.stats.drafted() + 1);
  ++totals_.drafted;
  SecondToken(request, /*committed=*/false);
  if (request.proto.emission() != v1::EMISSION_SPECULATIVE) return;
  v1::GenerateEvent event;
  event.mutable_tokens()->set_first_index(group.first_index + 1);
  event.mutable_tokens()->set_provisional(true);
  event.mutable_tokens()->add_tokens()->set_id(draft.id);
  Emit(request, std::move(event));
}

void Engine::FinishVerification(RowGroup& group) {
  Request& request = *group.request;
  std::vector<int32_t> ids;
  for (const SampledToken& token : group.sampled) ids.push_back(token.sample.id);
  const Sequence::Outcome outcome = request.sequence.Commit(ids);
  v1::GenerateStats& stats = request.stats;
  stats.set_accepted(stats.accepted() + outcome.accepted);
  stats.set_rolled_back(stats.rolled_back() + outcome.rolled_back);
  stats.set_diverged(stats.diverged() || outcome.rolled_back > 0);
  totals_.accepted += outcome.accepted;
  totals_.rolled_back += outcome.rolled_back;
  const int64_t first = group.first_index + 1;
  AddMoment(request.trace, "tokens", "verified", clock_.Now(), {"accepted", outcome.accepted},
            {"rolled_back", outcome.rolled_back});
  if (outcome.rolled_back > 0 && request.proto.emission() == v1::EMISSION_SPECULATIVE) {
    v1::GenerateEvent event;
    event.set_rollback_to(first + outcome.accepted);
    Emit(request, std::move(event));
  }
  // A text that ended at an accepted draft leaves the row behind it without a meaning.
  EmitCommitted(request, first, InfosOf(std::span(group.sampled).first(outcome.committed)));
}

// It is known by now: each time counts once, and one that was never drafted is both.
void Engine::SecondToken(Request& request, bool committed) {
  v1::GenerateStats& stats = request.stats;
  const double ms = MsSince(request);
  if (stats.second_token_provisional_ms() == 0) {
    stats.set_second_token_provisional_ms(ms);
    measures_.second_provisional_s.Observe(ms / 1000);
  }
  if (committed && stats.second_token_committed_ms() == 0) {
    stats.set_second_token_committed_ms(ms);
    measures_.second_committed_s.Observe(ms / 1000);
  }
}

void Engine::EmitCommitted(Request& request, int64_t first_index,
                           std::vector<v1::TokenInfo> infos) {
  totals_.generated_tokens += infos.size();
  AddMoment(request.trace, "tokens", "committed", clock_.Now(), {"index", first_index},
            {"tokens", std::ssize(infos)});
  if (first_index + std::ssize(infos) > 1) SecondToken(request, /*committed=*/true);
  v1::GenerateEvent event;
  event.mutable_tokens()->set_first_index(first_index);
  for (v1::TokenInfo& info : infos) *event.mutable_tokens()->add_tokens() = std::move(info);
  Emit(request, std::move(event));
}

}  // namespace lynx::decode
