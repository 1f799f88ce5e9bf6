#include "bench/draft_windows.h"

#include <algorithm>

#include "model/target_pages.h"

namespace lynx::bench {

DraftedText::DraftedText(const ModelConfig& config, const std::vector<KvSplit>& splits,
                         const SamplingParams& sampling, KvOps& ops, KvPool* pool,
                         KvSequence& prefilled, std::span<const int32_t> prompt, int64_t tokens_max)
    : config_(config),
      splits_(splits),
      sampling_(sampling),
      ops_(ops),
      pool_(pool),
      prompt_(prompt.begin(), prompt.end()),
      prefilled_tokens_(PromptTokens()),
      prefilled_(KvSequence::Create(prefilled.geometry(), 0, tokens_max, {pool})) {
  LYNX_CHECK(prefilled_ != nullptr && !splits.empty());
  for (int layer = 0; layer < prefilled.geometry().layers; ++layer) {
    for (int64_t page = 0; page * kPageTokens < PromptTokens(); ++page) {
      const std::byte* from = prefilled.Bf16Page(layer, page);
      std::copy_n(from, Bf16PageBytes(prefilled.geometry().shape),
                  prefilled_->Bf16Page(layer, page));
    }
  }
}

bool DraftedText::Ends(int32_t token) const {
  return std::find(config_.eos_ids.begin(), config_.eos_ids.end(), token) != config_.eos_ids.end();
}

PassRows DraftedText::PrefillRows() {
  const PassRows rows{.tokens = std::span(prompt_).subspan(prefilled_tokens_),
                      .first_position = prefilled_tokens_,
                      .kv = prefilled_.get(),
                      .view = KvView::kTarget};
  prefilled_tokens_ = PromptTokens();
  return rows;
}

void DraftedText::SampleFirst(const float* logits) {
  const int32_t first =
      sampler_.Sample(logits, config_.vocab, sampling_, no_history_, PromptTokens()).id;
  text_ = {first};
  ended_ = Ends(first);
}

DraftedText::Lane DraftedText::MakeLane(KvSplit split, KvView view, int64_t length) {
  KvGeometry geometry = prefilled_->geometry();
  geometry.target = KvTarget::kInt8;
  geometry.split = split;
  Lane lane;
  lane.view = view;
  lane.kv = KvSequence::Create(geometry, PromptTokens() / kPageTokens, PromptTokens() + length + 1,
                               {pool_});
  LYNX_CHECK(lane.kv != nullptr);
  FillTarget(*prefilled_, PromptTokens(), ops_, lane.kv.get());
  return lane;
}

void DraftedText::BeginWindow(int64_t length) {
  LYNX_CHECK(!ended_ && TextTokens() == 1);
  length_ = length;
  lanes_.clear();
  lanes_.push_back(MakeLane(splits_[0], KvView::kTarget, length));  // the same for every split
  for (KvSplit split : splits_) lanes_.push_back(MakeLane(split, KvView::kDraft, length));
}

bool DraftedText::AddRows(std::vector<PassRows>* pass) {
  if (ended_ || TextTokens() > length_) return false;
  for (Lane& lane : lanes_) {
    if (!lane.agrees) continue;
    pass->push_back({.tokens = std::span(text_).last(1),
                     .first_position = PromptTokens() + TextTokens() - 1,
                     .kv = lane.kv.get(),
                     .view = lane.view});
  }
  next_lane_ = 0;
  return true;
}

void DraftedText::TakeLogits(const float* logits) {
  while (!lanes_[next_lane_].agrees) ++next_lane_;
  Lane& lane = lanes_[next_lane_++];
  const SampleResult sample =
      sampler_.Sample(logits, config_.vocab, sampling_, no_history_, PromptTokens() + TextTokens());
  lane.sampled = sample.id;
  lane.window.margins.push_back(static_cast<float>(sample.margin));
}

void DraftedText::EndStep() {
  const int32_t target = lanes_[0].sampled;
  for (Lane& lane : lanes_) {
    if (!lane.agrees) continue;
    lane.agrees = lane.sampled == target;
    lane.window.accepted += lane.agrees ? 1 : 0;
  }
  text_.push_back(target);
  ended_ = Ends(target);
}

Window DraftedText::EndWindow() {
  Window window{.length = TextTokens() - 1, .drafters = {}};
  for (size_t i = 1; i < lanes_.size(); ++i) {
    window.drafters.push_back(std::move(lanes_[i].window));
  }
  lanes_.clear();
  prompt_.insert(prompt_.end(), text_.begin(), text_.end());
  text_.clear();
  return window;
}

}  // namespace lynx::bench
