// The prefill engine's passes: chunks of prompts, blocks layer by layer, the first token.
#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "prefill/engine.h"
#include "prefill/run_report.h"
#include "proto/convert.h"

namespace lynx::prefill {

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
  const Nanos began = clock_.Now();
  transformer_->Forward(PassKind::kPrefill, pass,
                        {.queued = [&](int layer) { QueueLayer(layer, counts); },
                         .done = [&](int layer) { OfferLayer(layer); }});
  const Nanos ended = clock_.Now();
  int64_t base = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    TraceChunk(*runs[i], counts[i], rows, began, ended);
    FinishChunk(*runs[i], base, counts[i]);
    base += counts[i];
  }
  measures_.pass_s.Observe(ended - began);
  measures_.pass_rows.Observe(static_cast<double>(rows));
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
    measures_.raw_pages.Add(run.raw_pages.size());
    run.raw_told.push_back(std::move(run.raw_pages));
    run.raw_pages.clear();
    Tell(run, std::move(message));
  }
  if (run.position < run.prompt_tokens()) return;
  absl::Status status = SendFirstToken(run, row_base + count - 1);
  if (!status.ok()) return Finish(run.id, status);
  run.phase = Phase::kSent;
  run.first_token_at = clock_.Now();
  measures_.compute_s.Observe(run.first_token_at - run.granted_at);
  AddMoment(run.trace, "request", "first token, all blocks offered", clock_.Now());
  v1::PrefillToDecode message;
  message.set_all_sent(true);
  Tell(run, std::move(message));
}

void Engine::SendPromptLogprobs(Run& run, int64_t row_base, int64_t count) {
  // Row i predicts the token behind it; the prompt's last row predicts the first generated token.
  const int64_t last = std::min(count, run.prompt_tokens() - 1 - run.position);
  if (last <= 0) return;
  std::vector<int64_t> rows(last);
  std::iota(rows.begin(), rows.end(), row_base);
  const std::span ids = AsSpan(run.request.prompt()).subspan(run.position + 1, last);
  const std::vector<Logprobs> logprobs =
      row_sampler_->LogprobsOf(rows, ids, run.request.prompt_logprobs());
  constexpr int64_t kTokensAMessage = 128;
  for (int64_t begin = 0; begin < last; begin += kTokensAMessage) {
    v1::PrefillToDecode message;
    v1::PromptLogprobs* out = message.mutable_prompt_logprobs();
    out->set_first_position(run.position + begin + 1);
    for (int64_t i = begin; i < std::min(begin + kTokensAMessage, last); ++i) {
      *out->add_tokens() = MakeTokenInfo(ids[i], logprobs[i]);
    }
    Tell(run, std::move(message));
  }
}

absl::Status Engine::SendFirstToken(Run& run, int64_t last_row) {
  std::vector<int32_t> ending(run.request.stop_token_ids().begin(),
                              run.request.stop_token_ids().end());
  if (!run.request.ignore_eos()) {
    ending.insert(ending.end(), config_.eos_ids.begin(), config_.eos_ids.end());
  }
  TokenCounts history{AsSpan(run.request.prompt())};
  const SampleChain chain{.first_row = last_row,
                          .params = &run.sampling,
                          .history = &history,
                          .position = run.prompt_tokens(),
                          .banned = ending,
                          .banned_rows = run.request.min_tokens(),
                          .logprobs = run.request.logprobs()};
  const SampledToken token = row_sampler_->Sample({&chain, 1})[0][0];
  if (token.sample.invalid_logits) {
    return absl::InternalError("the model gave logits that are not finite");
  }
  v1::PrefillToDecode message;
  v1::FirstToken* first = message.mutable_first_token();
  *first->mutable_token() = MakeTokenInfo(token.sample.id, token.logprobs);
  first->set_ends_text(std::find(ending.begin(), ending.end(), token.sample.id) != ending.end());
  Tell(run, std::move(message));
  return absl::OkStatus();
}

}  // namespace lynx::prefill
