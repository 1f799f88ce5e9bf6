// Asks for one head's share of the next page, a few lines at a time: pages lie anywhere, so the
// hardware does not foresee them, and a core waits when it asks for more lines at once than it can
// keep track of (some 24). Included by the tiers' files only (see simd.h).
#pragma once

#include <cstddef>

#include "kernels/attention.h"
#include "kernels/kv_split.h"

namespace lynx {
namespace {

class PagePrefetch {
 public:
  // Begins with a new page.
  void Start(const AttentionArgs& args, int head, const KvPageRef& ref) {
    count_ = at_ = 0;
    lines_ = 0;
    const size_t key_bytes = static_cast<size_t>(args.shape.head_dim) * kPageTokens * sizeof(bf16);
    const auto heads = static_cast<size_t>(args.shape.kv_heads);
    const auto h = static_cast<size_t>(head);
    if (ref.kind == KvPageKind::kBf16) {
      Add(ref.data + h * key_bytes, key_bytes);
      Add(ref.data + (heads + h) * key_bytes, key_bytes);
    } else {
      const size_t anchor = AnchorBlockBytes(args.shape, args.split) / heads;
      Add(ref.data + h * anchor, anchor);
      if (ref.kind == KvPageKind::kFull && ref.residual != nullptr) {
        const size_t residual = ResidualBlockBytes(args.shape, args.split) / heads;
        Add(ref.residual + h * residual, residual);
      }
    }
    step_bytes_ = (lines_ / kSteps + 1) * kLine;
  }

  // Some of the lines; nothing once all are asked for.
  void Step() {
    if (at_ == count_) return;
    Range& range = ranges_[at_];
    const size_t bytes = range.bytes < step_bytes_ ? range.bytes : step_bytes_;
    for (size_t i = 0; i < bytes; i += kLine) __builtin_prefetch(range.data + i, 0, 2);
    range.data += bytes;
    range.bytes -= bytes;
    if (range.bytes == 0) ++at_;
  }

  // All that are left.
  void Finish() {
    while (at_ != count_) Step();
  }

 private:
  static constexpr size_t kLine = 64;
  // About as many as one page has calls of Step with three query rows.
  static constexpr size_t kSteps = 6;

  struct Range {
    const std::byte* data;
    size_t bytes;
  };
  void Add(const std::byte* data, size_t bytes) {
    ranges_[count_++] = {data, bytes};
    lines_ += bytes / kLine;
  }

  Range ranges_[2];
  int count_ = 0, at_ = 0;
  size_t lines_ = 0, step_bytes_ = 0;
};

}  // namespace
}  // namespace lynx
