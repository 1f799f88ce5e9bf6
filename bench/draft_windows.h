// The texts of one prompt in the speculation bench, window by window: target and drafters decode
// side by side until they part.
//
// Thread: the owner of the Transformer's pool.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/kv_ops.h"
#include "model/kv_pool.h"
#include "model/kv_sequence.h"
#include "model/model_config.h"
#include "model/sampling.h"
#include "model/transformer.h"

namespace lynx::bench {

// What a drafter made of one window.
struct DraftedWindow {
  int64_t accepted = 0;        // drafts before the first wrong one
  std::vector<float> margins;  // of all drafts up to the first wrong one, that included
};

struct Window {
  int64_t length = 0;                   // drafts asked for; fewer if the target's text ended
  std::vector<DraftedWindow> drafters;  // [splits]
};

// A prompt and what the target says behind it, sampled in one way. For each window:
//   Prefill(AddPrefillRows, a pass, SampleFirst), BeginWindow,
//   while (AddRows): a pass, TakeLogits for each row, EndStep;
//   EndWindow, which makes the window's text part of the prompt.
class DraftedText {
 public:
  // `prefilled` holds the prompt in BF16 and is only read. Everything given outlives the text,
  // `prefilled` and `prompt` excepted.
  DraftedText(const ModelConfig& config, const std::vector<KvSplit>& splits,
              const SamplingParams& sampling, KvOps& ops, KvPool* pool, KvSequence& prefilled,
              std::span<const int32_t> prompt, int64_t tokens_max);

  // The end-of-text token has been sampled: there is no further window.
  bool ended() const { return ended_; }

  PassRows PrefillRows();  // what the last window has added to the prompt
  // The token behind the prompt, which is committed at once; `logits` are the prefill's.
  void SampleFirst(const float* logits);
  void BeginWindow(int64_t length);
  // Adds the rows of the next step; false if the window is complete.
  bool AddRows(std::vector<PassRows>* pass);
  void TakeLogits(const float* logits);
  void EndStep();
  Window EndWindow();

 private:
  struct Lane {
    std::unique_ptr<KvSequence> kv;
    KvView view = KvView::kTarget;
    bool agrees = true;  // with the target so far
    int32_t sampled = 0;
    DraftedWindow window;
  };

  int64_t PromptTokens() const { return static_cast<int64_t>(prompt_.size()); }
  int64_t TextTokens() const { return static_cast<int64_t>(text_.size()); }
  bool Ends(int32_t token) const;
  Lane MakeLane(KvSplit split, KvView view, int64_t length);

  const ModelConfig& config_;
  const std::vector<KvSplit>& splits_;
  const SamplingParams sampling_;
  KvOps& ops_;
  KvPool* const pool_;
  Sampler sampler_;
  const TokenCounts no_history_;  // no penalties
  std::vector<int32_t> prompt_;
  int64_t prefilled_tokens_;  // of prompt_
  std::unique_ptr<KvSequence> prefilled_;

  std::vector<int32_t> text_;  // of the window: the committed token, then the target's
  int64_t length_ = 0;
  bool ended_ = false;
  std::vector<Lane> lanes_;  // the target, then a drafter for each split
  size_t next_lane_ = 0;     // whose logits come next
};

}  // namespace lynx::bench
