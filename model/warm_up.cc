#include "model/warm_up.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "model/kv_format.h"
#include "model/target_pages.h"

namespace lynx {
namespace {

// Row counts between which backends change kernels: one row, few, a tile, all.
std::vector<int64_t> PassSizes(int64_t rows_max) {
  std::vector<int64_t> sizes;
  for (const int64_t rows : {int64_t{1}, int64_t{9}, int64_t{17}, rows_max}) {
    if (rows <= rows_max) sizes.push_back(rows);
  }
  return sizes;
}

class WarmUpRun {
 public:
  WarmUpRun(const ModelConfig& config, Transformer& transformer, RowSampler& sampler,
            Backend& backend)
      : config_(config),
        transformer_(transformer),
        sampler_(sampler),
        ops_(backend.kv_ops()),
        pool_(std::numeric_limits<size_t>::max() / 2, backend.page_memory()),
        tokens_(static_cast<size_t>(transformer.rows_max()), 0) {}

  void Run() {
    const auto plain = NewSequence(KvTarget::kBf16Whole, 0);
    const auto coded = NewSequence(KvTarget::kInt8, 1);
    const auto restored = NewSequence(KvTarget::kBf16, 1);
    if (plain == nullptr || coded == nullptr || restored == nullptr) return;
    for (const int64_t rows : PassSizes(transformer_.rows_max())) {
      Pass(PassKind::kPrefill, *plain, rows, KvView::kTarget, 0);
    }
    FillTarget(*plain, kPageTokens + 1, ops_, coded.get());
    for (const int64_t rows : PassSizes(transformer_.rows_max())) {
      Pass(PassKind::kDecode, *coded, rows, KvView::kTarget, kPageTokens);
    }
    Pass(PassKind::kDecode, *coded, 1, KvView::kDraft, kPageTokens);
    Sample();
    Restore(*plain, restored.get());
  }

 private:
  // Room for the largest pass behind one full page. Null if memory has none.
  std::unique_ptr<KvSequence> NewSequence(KvTarget target, int64_t code_pages) {
    return KvSequence::Create(*MakeKvGeometry(config_, target, {5, 4}), code_pages,
                              kPageTokens + std::max<int64_t>(kPageTokens, transformer_.rows_max()),
                              {&pool_});
  }

  void Pass(PassKind kind, KvSequence& kv, int64_t rows, KvView view, int64_t first_position) {
    const PassRows part{.tokens = std::span(tokens_).first(static_cast<size_t>(rows)),
                        .first_position = first_position,
                        .kv = &kv,
                        .view = view};
    transformer_.Forward(kind, std::span(&part, 1));
    std::vector<int64_t> all(static_cast<size_t>(std::min(rows, Transformer::kLogitRowsMax)));
    std::iota(all.begin(), all.end(), 0);
    sampler_.LogprobsOf(all, std::span(tokens_).first(all.size()), 1);
  }

  // From the last pass, with every filter.
  void Sample() {
    SamplingParams params;
    params.temperature = 1;
    params.top_k = 2;
    params.top_p = 0.5;
    params.min_p = 0.01;
    TokenCounts history;
    const SampleChain chain{.params = &params, .history = &history};
    sampler_.Sample(std::span(&chain, 1));
  }

  // What both sides do with a page of the bf16 target.
  void Restore(KvSequence& plain, KvSequence* to) {
    const KvGeometry& g = to->geometry();
    const size_t tail_room = Bf16PageBytes(g.shape);
    std::byte* tail = pool_.TryAllocate(tail_room);
    if (tail == nullptr) return;
    CodeJob code{.page = plain.Bf16Page(0, 0),
                 .first_token = KvSequence::FirstToken(0),
                 .anchor = to->AnchorBlock(0, 0),
                 .residual = to->ResidualBlock(0, 0),
                 .tail = tail};
    ops_.Code(g.shape, g.split, std::span(&code, 1));
    const PackJob pack{plain.Bf16Page(0, 0), 0, kSinkTokens, to->SinksBlock(0)};
    ops_.Pack(g.shape, std::span(&pack, 1));
    ops_.WaitFor(ops_.Now());
    RestoreJob restore{.first_token = KvSequence::FirstToken(0),
                       .anchor = to->AnchorBlock(0, 0),
                       .residual = to->ResidualBlock(0, 0),
                       .tail = {tail, code.tail_bytes},
                       .sinks = to->SinksBlock(0),
                       .page = to->Bf16Page(0, 0)};
    ops_.Restore(g.shape, g.split, std::span(&restore, 1));
    ops_.WaitFor(ops_.Now());
    pool_.Free(tail, tail_room);
  }

  const ModelConfig& config_;
  Transformer& transformer_;
  RowSampler& sampler_;
  KvOps& ops_;
  KvPool pool_;
  const std::vector<int32_t> tokens_;
};

}  // namespace

void WarmUp(const ModelConfig& config, Transformer& transformer, RowSampler& sampler,
            Backend& backend) {
  WarmUpRun(config, transformer, sampler, backend).Run();
}

}  // namespace lynx
