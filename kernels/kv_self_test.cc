#include "kernels/kv_self_test.h"

#include <cstring>
#include <vector>

#include "kernels/kv_layout_inl.h"
#include "runtime/aligned_buffer.h"

namespace lynx {
namespace {

// Two vectors of 16 channels, groups of 3 query heads, and rows that fill a tile and leave a rest.
constexpr KvShape kShape = {1, 32};
constexpr KvSplit kSplit = {5, 4};
constexpr int kQueryHeads = 3;
constexpr int64_t kRows = 5;
constexpr int64_t kFirstPosition = kPageTokens + 31;  // ends in the middle of a pair of page 1

// A small generator of its own: the same numbers on every machine, in -2..2.
class Numbers {
 public:
  float Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<float>(static_cast<int32_t>(state_ >> 32)) * 0x1p-30f;
  }

 private:
  uint64_t state_ = 7;
};

using Bytes = AlignedBuffer<std::byte>;

bool Same(const Bytes& a, const Bytes& b) { return std::memcmp(a.data(), b.data(), a.size()) == 0; }

// One tier's results for the same input.
struct Results {
  explicit Results(const Kernels& kernels) {
    Numbers numbers;
    for (Bytes* page : {&page0, &page1}) {
      auto* values = reinterpret_cast<bf16*>(page->data());
      for (size_t i = 0; i < page->size() / 2; ++i) values[i] = ToBf16(numbers.Next());
    }
    float row[32];
    for (float& x : row) x = numbers.Next();
    kernels.write_kv({.shape = kShape, .k = row, .v = row, .page = page1.data(), .token = 9});
    PackTokens(kShape, page0.data(), 0, kSinkTokens, sinks.data());
    split = kernels.split_page({.shape = kShape,
                                .split = kSplit,
                                .page = page0.data(),
                                .first_token = kSinkTokens,
                                .anchor = anchor.data(),
                                .residual = residual.data()});
    RunTail(kernels);
    Attend(kernels, {KvPageKind::kBf16, page0.data(), nullptr}, &bf16_out);
    Attend(kernels, {KvPageKind::kAnchor, anchor.data(), nullptr}, &anchor_out);
    Attend(kernels, {KvPageKind::kFull, anchor.data(), residual.data()}, &full_out);
  }

  void RunTail(const Kernels& kernels) {
    tail.resize(page0.size());
    tail.resize(kernels.tail_encode({.shape = kShape,
                                     .split = kSplit,
                                     .page = page0.data(),
                                     .first_token = kSinkTokens,
                                     .anchor = anchor.data(),
                                     .residual = residual.data(),
                                     .tail = tail.data()}));
    std::memset(restored.data(), 0, restored.size());
    const bool fits = kernels.tail_decode({.shape = kShape,
                                           .split = kSplit,
                                           .first_token = kSinkTokens,
                                           .anchor = anchor.data(),
                                           .residual = residual.data(),
                                           .tail = tail,
                                           .page = restored.data()});
    if (!fits) tail.clear();
  }

  void Attend(const Kernels& kernels, const KvPageRef& first, std::vector<bf16>* out) {
    constexpr int64_t kWidth = static_cast<int64_t>(kQueryHeads) * kShape.head_dim;
    Numbers numbers;
    std::vector<float> q(static_cast<size_t>(kRows * kWidth));
    for (float& x : q) x = numbers.Next();
    const KvPageRef pages[] = {first, {KvPageKind::kBf16, page1.data(), nullptr}};
    out->assign(q.size(), bf16{0});
    const AttentionArgs args = {.shape = kShape,
                                .split = kSplit,
                                .q_heads = kQueryHeads,
                                .scale = 0.25f,
                                .rows = kRows,
                                .first_position = kFirstPosition,
                                .q = q.data(),
                                .q_stride = kWidth,
                                .pages = pages,
                                .sinks = sinks.data(),
                                .out = out->data()};
    const AttentionShare share = {.kv_head = 0, .row_begin = 0, .row_end = kRows};
    Bytes scratch(AttentionScratchBytes(args, share));
    kernels.attend(args, share, scratch.data());
  }

  Bytes page0{Bf16PageBytes(kShape)}, page1{Bf16PageBytes(kShape)};
  Bytes sinks{PackedTokenBytes(kShape) * kSinkTokens};
  Bytes anchor{AnchorBlockBytes(kShape, kSplit)}, residual{ResidualBlockBytes(kShape, kSplit)};
  SplitResult split = SplitResult::kRaw;
  std::vector<std::byte> tail;  // empty if it did not come back
  Bytes restored{Bf16PageBytes(kShape)};
  std::vector<bf16> bf16_out, anchor_out, full_out;
};

}  // namespace

std::string_view FirstKvMismatch(const Kernels& tier, const Kernels& reference) {
  const Results got(tier), want(reference);
  if (!Same(got.page1, want.page1)) return "write_kv";
  if (got.split != want.split || !Same(got.anchor, want.anchor) ||
      !Same(got.residual, want.residual)) {
    return "split_page";
  }
  if (got.tail != want.tail) return "tail_encode";
  if (!Same(got.restored, want.restored)) return "tail_decode";
  if (got.bf16_out != want.bf16_out) return "attend over BF16 pages";
  if (got.anchor_out != want.anchor_out) return "attend over Anchor pages";
  if (got.full_out != want.full_out) return "attend over full code pages";
  return "";
}

}  // namespace lynx
