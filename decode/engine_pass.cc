// The decode engine's passes: sequences that draft, verify and decode plainly, side by side.
#include <algorithm>
#include <numeric>

#include "decode/engine.h"
#include "proto/convert.h"

namespace lynx::decode {

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
  transformer_->Forward(PassKind::kDecode, pass);
  HandleLogits(groups, rows);
  for (RowGroup& group : groups) FinishGroup(group);
  ++totals_.steps;
  return true;
}

void Engine::HandleLogits(std::vector<RowGroup>& groups, int64_t rows) {
  std::vector<std::pair<RowGroup*, int64_t>> owners;  // of each row of the pass
  for (RowGroup& group : groups) {
    for (size_t i = 0; i < group.tokens.size(); ++i) owners.emplace_back(&group, i);
  }
  for (int64_t begin = 0; begin < rows; begin += Transformer::kLogitRowsMax) {
    std::vector<int64_t> slice(std::min(Transformer::kLogitRowsMax, rows - begin));
    std::iota(slice.begin(), slice.end(), begin);
    const float* logits = transformer_->Logits(slice);
    for (int64_t row : slice) {
      HandleRow(*owners[row].first, owners[row].second, logits + (row - begin) * config_.vocab);
    }
  }
}

// Samples the token behind one row. In a verification, rows behind the first that disagrees are
// passed over: they saw a token that the text does not have.
void Engine::HandleRow(RowGroup& group, int64_t row, const float* logits) {
  if (group.settled) return;
  Request& request = *group.request;
  const int64_t index = group.first_index + row + 1;
  std::span<const int32_t> banned;
  if (index < request.proto.min_tokens()) banned = request.ending_ids;
  const SampleResult sample = sampler_.Sample(logits, config_.vocab, request.sampling,
                                              request.history, request.PositionOf(index), banned);
  group.invalid_logits |= sample.invalid_logits;
  group.sampled.push_back(sample.id);
  group.margin = static_cast<float>(sample.margin);
  request.history.Push(sample.id);
  if (group.state != State::kDrafting) {
    group.infos.push_back(
        MakeTokenInfo(logits, config_.vocab, sample.id, request.proto.logprobs()));
  }
  const bool last = row + 1 == static_cast<int64_t>(group.tokens.size());
  group.settled = last || sample.id != group.tokens[row + 1];
}

void Engine::FinishGroup(RowGroup& group) {
  Request& request = *group.request;
  if (request.removed) return;
  if (group.invalid_logits) {
    return Fail(request, absl::InternalError("the model gave logits that are not finite"));
  }
  switch (group.state) {
    case State::kDrafting:
      return FinishDraft(group);
    case State::kVerifying:
      FinishVerification(group);
      break;
    default:
      request.sequence.CommitOne(group.sampled[0]);
      EmitCommitted(request, group.first_index + 1, std::move(group.infos));
  }
  if (request.sequence.state() == State::kDone) Complete(request);
}

void Engine::FinishDraft(RowGroup& group) {
  Request& request = *group.request;
  request.sequence.Propose(group.sampled[0], group.margin);
  request.stats.set_drafted(request.stats.drafted() + 1);
  ++totals_.drafted;
  if (request.stats.second_token_provisional_ms() == 0) {
    request.stats.set_second_token_provisional_ms(MsSince(request));
  }
  if (request.proto.emission() != v1::EMISSION_SPECULATIVE) return;
  v1::GenerateEvent event;
  event.mutable_tokens()->set_first_index(group.first_index + 1);
  event.mutable_tokens()->set_provisional(true);
  event.mutable_tokens()->add_tokens()->set_id(group.sampled[0]);
  Emit(request, std::move(event));
}

void Engine::FinishVerification(RowGroup& group) {
  Request& request = *group.request;
  const Sequence::Outcome outcome = request.sequence.Commit(group.sampled);
  v1::GenerateStats& stats = request.stats;
  stats.set_accepted(stats.accepted() + outcome.accepted);
  stats.set_rolled_back(stats.rolled_back() + outcome.rolled_back);
  stats.set_diverged(stats.diverged() || outcome.rolled_back > 0);
  totals_.accepted += outcome.accepted;
  totals_.rolled_back += outcome.rolled_back;
  const int64_t first = group.first_index + 1;
  if (outcome.rolled_back > 0 && request.proto.emission() == v1::EMISSION_SPECULATIVE) {
    v1::GenerateEvent event;
    event.set_rollback_to(first + outcome.accepted);
    Emit(request, std::move(event));
  }
  // A text that ended at an accepted draft leaves the row behind it without a meaning.
  group.infos.resize(outcome.committed);
  EmitCommitted(request, first, std::move(group.infos));
}

void Engine::EmitCommitted(Request& request, int64_t first_index,
                           std::vector<v1::TokenInfo> infos) {
  totals_.generated_tokens += infos.size();
  if (first_index + static_cast<int64_t>(infos.size()) > 1 &&
      request.stats.second_token_committed_ms() == 0) {
    request.stats.set_second_token_committed_ms(MsSince(request));
    if (request.stats.second_token_provisional_ms() == 0) {
      request.stats.set_second_token_provisional_ms(MsSince(request));
    }
  }
  v1::GenerateEvent event;
  event.mutable_tokens()->set_first_index(first_index);
  for (v1::TokenInfo& info : infos) *event.mutable_tokens()->add_tokens() = std::move(info);
  Emit(request, std::move(event));
}

}  // namespace lynx::decode
