#include "model/target_pages.h"

#include <cstring>
#include <vector>

#include "runtime/status.h"

namespace lynx {
namespace {

class Filler {
 public:
  Filler(KvSequence& prefilled, const Kernels& kernels, KvSequence* to)
      : prefilled_(prefilled), geometry_(to->geometry()), kernels_(kernels), to_(to) {}

  void FillLayer(int layer, int64_t pages) {
    const bool code = geometry_.has_code();
    if (to_->code_pages() > 0 && code) {
      PackTokens(geometry_.shape, prefilled_.Bf16Page(layer, 0), 0, kSinkTokens,
                 to_->SinksBlock(layer));
    }
    for (int64_t page = 0; page < pages; ++page) {
      const bool full = page < to_->code_pages();
      if (full && code && geometry_.target != KvTarget::kBf16) {
        CodePage(layer, page);
        continue;
      }
      CopyPage(layer, page);
      if (full && geometry_.target == KvTarget::kBf16) to_->MarkRestored(layer, page);
    }
  }

 private:
  void CopyPage(int layer, int64_t page) {
    std::memcpy(to_->Bf16Page(layer, page), prefilled_.Bf16Page(layer, page),
                Bf16PageBytes(geometry_.shape));
  }

  void CodePage(int layer, int64_t page) {
    std::byte* residual = to_->ResidualBlock(layer, page);
    if (residual == nullptr) {  // a baseline that drops it
      unused_residual_.resize(ResidualBlockBytes(geometry_.shape, geometry_.split));
      residual = unused_residual_.data();
    }
    const SplitResult result = kernels_.split_page({.shape = geometry_.shape,
                                                    .split = geometry_.split,
                                                    .page = prefilled_.Bf16Page(layer, page),
                                                    .first_token = KvSequence::FirstToken(page),
                                                    .anchor = to_->AnchorBlock(layer, page),
                                                    .residual = residual});
    if (result == SplitResult::kCode) return;
    LYNX_CHECK(to_->MakeRaw(layer, page));
    CopyPage(layer, page);
  }

  KvSequence& prefilled_;
  const KvGeometry& geometry_;
  const Kernels& kernels_;
  KvSequence* const to_;
  std::vector<std::byte> unused_residual_;
};

}  // namespace

void FillTarget(KvSequence& prefilled, int64_t tokens, const Kernels& kernels, KvSequence* to) {
  LYNX_CHECK(to->code_pages() == tokens / kPageTokens);
  const int64_t pages = (tokens + kPageTokens - 1) / kPageTokens;
  Filler filler(prefilled, kernels, to);
  for (int layer = 0; layer < to->geometry().layers; ++layer) filler.FillLayer(layer, pages);
}

}  // namespace lynx
