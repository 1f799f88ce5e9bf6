#include "bench/kv_filler.h"

#include <cstring>
#include <random>

#include "runtime/status.h"

namespace lynx::bench {

KvFiller::KvFiller(const KvGeometry& geometry, const Kernels& kernels)
    : geometry_(geometry),
      kernels_(kernels),
      page_(Bf16PageBytes(geometry.shape)),
      unused_(ResidualBlockBytes(geometry.shape, geometry.split)) {
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  for (size_t i = 0; i + sizeof(bf16) <= page_.size(); i += sizeof(bf16)) {
    const bf16 value = ToBf16(normal(rng));
    std::memcpy(page_.data() + i, &value, sizeof value);
  }
}

void KvFiller::Fill(int64_t tokens, KvSequence* kv) const {
  const int64_t pages = (tokens + kPageTokens - 1) / kPageTokens;
  for (int layer = 0; layer < geometry_.layers; ++layer) {
    for (int64_t page = 0; page < pages; ++page) {
      const bool code = page < kv->code_pages() && geometry_.has_code();
      if (code) FillCodePage(layer, page, kv);
      if (code && !geometry_.has_bf16_pages()) continue;
      std::memcpy(kv->Bf16Page(layer, page), page_.data(), page_.size());
      if (code) kv->MarkRestored(layer, page);
    }
  }
}

void KvFiller::FillCodePage(int layer, int64_t page, KvSequence* kv) const {
  if (page == 0) {
    PackTokens(geometry_.shape, page_.data(), 0, kSinkTokens, kv->SinksBlock(layer));
  }
  std::byte* residual = kv->ResidualBlock(layer, page);
  const SplitResult result =
      kernels_.split_page({.shape = geometry_.shape,
                           .split = geometry_.split,
                           .page = page_.data(),
                           .first_token = KvSequence::FirstToken(page),
                           .anchor = kv->AnchorBlock(layer, page),
                           .residual = residual != nullptr ? residual : unused_.data()});
  LYNX_CHECK(result == SplitResult::kCode);  // noise is finite
}

}  // namespace lynx::bench
