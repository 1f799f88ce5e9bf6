#include "model/reference_decoder.h"

#include <algorithm>
#include <limits>

#include "model/target_pages.h"

namespace lynx {
namespace {

class Decoder {
 public:
  Decoder(const ReferenceRequest& request, const KvGeometry& geometry, Transformer& transformer,
          Backend& backend)
      : request_(request),
        geometry_(geometry),
        transformer_(transformer),
        backend_(backend),
        pool_(std::numeric_limits<size_t>::max() / 2, backend.page_memory()),
        history_(std::span(request.prompt)) {}

  ReferenceResult Run(bool code_free) {
    const float* logits = Prefill();
    std::unique_ptr<KvSequence> target = code_free ? std::move(prefilled_) : ToTarget();
    while (!Sample(logits)) {
      const PassRows row{.tokens = std::span(&result_.tokens.back(), 1),
                         .first_position = Length() - 1,
                         .kv = target.get(),
                         .view = KvView::kTarget};
      transformer_.Forward(PassKind::kDecode, std::span(&row, 1));
      const int64_t rows[] = {0};
      logits = transformer_.Logits(rows);
    }
    return std::move(result_);
  }

 private:
  int64_t PromptTokens() const { return static_cast<int64_t>(request_.prompt.size()); }
  int64_t Length() const { return PromptTokens() + static_cast<int64_t>(result_.tokens.size()); }

  // Fills prefilled_; returns the logits behind the prompt's last token.
  const float* Prefill() {
    KvGeometry plain = geometry_;
    plain.target = KvTarget::kBf16Whole;
    prefilled_ = KvSequence::Create(plain, 0, PromptTokens() + request_.max_tokens, {&pool_});
    int64_t count = 0;
    for (int64_t begin = 0; begin < PromptTokens(); begin += count) {
      count = std::min(transformer_.rows_max(), PromptTokens() - begin);
      const PassRows rows{.tokens = std::span(request_.prompt).subspan(begin, count),
                          .first_position = begin,
                          .kv = prefilled_.get(),
                          .view = KvView::kTarget};
      transformer_.Forward(PassKind::kPrefill, std::span(&rows, 1));
      if (request_.prompt_logprobs >= 0) PromptLogprobs(begin, count);
    }
    const int64_t last[] = {count - 1};
    return transformer_.Logits(last);
  }

  void PromptLogprobs(int64_t begin, int64_t count) {
    for (int64_t i = 0; i < count && begin + i + 1 < PromptTokens(); ++i) {
      const int64_t row[] = {i};
      result_.prompt_logprobs.push_back(
          ComputeLogprobs(transformer_.Logits(row), transformer_.vocab(),
                          request_.prompt[begin + i + 1], request_.prompt_logprobs));
    }
  }

  std::unique_ptr<KvSequence> ToTarget() {
    auto target = KvSequence::Create(geometry_, PromptTokens() / kPageTokens,
                                     PromptTokens() + request_.max_tokens, {&pool_});
    FillTarget(*prefilled_, PromptTokens(), backend_.kv_ops(), target.get());
    return target;
  }

  // Appends the next token; true if it is the last.
  bool Sample(const float* logits) {
    std::span<const int32_t> banned;
    if (static_cast<int64_t>(result_.tokens.size()) < request_.min_tokens)
      banned = request_.ending_ids;
    const int32_t id =
        sampler_.Sample(logits, transformer_.vocab(), request_.sampling, history_, Length(), banned)
            .id;
    if (request_.logprobs >= 0) {
      result_.logprobs.push_back(
          ComputeLogprobs(logits, transformer_.vocab(), id, request_.logprobs));
    }
    result_.tokens.push_back(id);
    if (request_.on_token) request_.on_token(id);
    history_.Push(id);
    const bool ends = std::find(request_.ending_ids.begin(), request_.ending_ids.end(), id) !=
                      request_.ending_ids.end();
    return ends || static_cast<int64_t>(result_.tokens.size()) >= request_.max_tokens;
  }

  const ReferenceRequest& request_;
  const KvGeometry geometry_;
  Transformer& transformer_;
  Backend& backend_;
  KvPool pool_;
  TokenCounts history_;
  Sampler sampler_;
  std::unique_ptr<KvSequence> prefilled_;
  ReferenceResult result_;
};

}  // namespace

absl::StatusOr<ReferenceResult> DecodeReference(const ReferenceRequest& request,
                                                const KvGeometry& geometry, bool code_free,
                                                Transformer& transformer, Backend& backend) {
  if (request.prompt.empty()) return absl::InvalidArgumentError("the prompt is empty");
  return Decoder(request, geometry, transformer, backend).Run(code_free);
}

}  // namespace lynx
