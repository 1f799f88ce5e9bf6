#include "model/target_pages.h"

#include <vector>

#include "runtime/status.h"

namespace lynx {
namespace {

class Filler {
 public:
  Filler(KvSequence& prefilled, KvOps& ops, KvSequence* to)
      : prefilled_(prefilled), geometry_(to->geometry()), ops_(ops), to_(to) {}

  void FillLayer(int layer, int64_t pages) {
    const bool code = geometry_.has_code();
    if (to_->code_pages() > 0 && code) {
      const PackJob sinks{prefilled_.Bf16Page(layer, 0), 0, kSinkTokens, to_->SinksBlock(layer)};
      ops_.Pack(geometry_.shape, std::span(&sinks, 1));
    }
    std::vector<CodeJob> jobs;
    for (int64_t page = 0; page < pages; ++page) {
      const bool full = page < to_->code_pages();
      if (full && code && geometry_.target != KvTarget::kBf16) {
        jobs.push_back({.page = prefilled_.Bf16Page(layer, page),
                        .first_token = KvSequence::FirstToken(page),
                        .anchor = to_->AnchorBlock(layer, page),
                        .residual = to_->ResidualBlock(layer, page)});
        continue;
      }
      CopyPage(layer, page);
      if (full && geometry_.target == KvTarget::kBf16) to_->MarkRestored(layer, page);
    }
    CodePages(layer, jobs);
  }

 private:
  void CopyPage(int layer, int64_t page) {
    ops_.Copy(to_->Bf16Page(layer, page), prefilled_.Bf16Page(layer, page),
              Bf16PageBytes(geometry_.shape));
  }

  // The layer's first pages, as many as there are jobs.
  void CodePages(int layer, std::span<CodeJob> jobs) {
    ops_.Code(geometry_.shape, geometry_.split, jobs);
    ops_.WaitFor(ops_.Now());
    for (size_t page = 0; page < jobs.size(); ++page) {
      if (jobs[page].result == SplitResult::kCode) continue;
      LYNX_CHECK(to_->MakeRaw(layer, static_cast<int64_t>(page)));
      CopyPage(layer, static_cast<int64_t>(page));
    }
  }

  KvSequence& prefilled_;
  const KvGeometry& geometry_;
  KvOps& ops_;
  KvSequence* const to_;
};

}  // namespace

void FillTarget(KvSequence& prefilled, int64_t tokens, KvOps& ops, KvSequence* to) {
  LYNX_CHECK(to->code_pages() == tokens / kPageTokens);
  const int64_t pages = (tokens + kPageTokens - 1) / kPageTokens;
  Filler filler(prefilled, ops, to);
  for (int layer = 0; layer < to->geometry().layers; ++layer) filler.FillLayer(layer, pages);
  ops.WaitFor(ops.Now());
}

}  // namespace lynx
