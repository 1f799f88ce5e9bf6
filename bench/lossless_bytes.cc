#include "bench/lossless_bytes.h"

#include <vector>

namespace lynx::bench {
namespace {

constexpr KvSplit kSplit = {5, 4};

class Counter {
 public:
  Counter(KvSequence& prefilled, const Kernels& kernels)
      : prefilled_(prefilled),
        kernels_(kernels),
        shape_(prefilled.geometry().shape),
        anchor_(AnchorBlockBytes(shape_, kSplit)),
        residual_(ResidualBlockBytes(shape_, kSplit)),
        tail_(Bf16PageBytes(shape_)) {}

  void AddPage(int layer, int64_t page, LosslessBytes* to) {
    const std::byte* bf16 = prefilled_.Bf16Page(layer, page);
    const int first_token = KvSequence::FirstToken(page);
    const SplitResult result = kernels_.split_page({.shape = shape_,
                                                    .split = kSplit,
                                                    .page = bf16,
                                                    .first_token = first_token,
                                                    .anchor = anchor_.data(),
                                                    .residual = residual_.data()});
    if (result == SplitResult::kRaw) {
      to->bf16 += static_cast<int64_t>(tail_.size());
      return;
    }
    to->code += static_cast<int64_t>(anchor_.size() + residual_.size());
    to->tail += static_cast<int64_t>(kernels_.tail_encode({.shape = shape_,
                                                           .split = kSplit,
                                                           .page = bf16,
                                                           .first_token = first_token,
                                                           .anchor = anchor_.data(),
                                                           .residual = residual_.data(),
                                                           .tail = tail_.data()}));
  }

 private:
  KvSequence& prefilled_;
  const Kernels& kernels_;
  const KvShape shape_;
  std::vector<std::byte> anchor_, residual_, tail_;
};

}  // namespace

void AddLosslessBytes(KvSequence& prefilled, int64_t tokens, const Kernels& kernels,
                      LosslessBytes* to) {
  const KvGeometry& geometry = prefilled.geometry();
  const auto token_bytes = static_cast<int64_t>(PackedTokenBytes(geometry.shape));
  const int64_t pages = tokens / kPageTokens;
  to->values += geometry.layers * tokens * token_bytes / static_cast<int64_t>(sizeof(bf16));
  const int64_t packed_tokens = tokens % kPageTokens + (pages > 0 ? kSinkTokens : 0);
  to->bf16 += geometry.layers * packed_tokens * token_bytes;
  Counter counter(prefilled, kernels);
  for (int layer = 0; layer < geometry.layers; ++layer) {
    for (int64_t page = 0; page < pages; ++page) counter.AddPage(layer, page, to);
  }
}

}  // namespace lynx::bench
