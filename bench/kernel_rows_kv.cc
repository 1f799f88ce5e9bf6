// The KV code and attention, over one layer's pages of a small model's shape.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/kernel_rows.h"
#include "kernels/kv_split.h"
#include "kernels/parallel.h"
#include "runtime/aligned_buffer.h"
#include "runtime/status.h"

namespace lynx::bench {
namespace {

using Block = AlignedBuffer<std::byte>;

// SmolLM2-135M's: 9 query heads over 3 KV heads of 64 channels.
constexpr KvShape kShape = {3, 64};
constexpr int kQueryHeads = 9;
constexpr int64_t kWidth = static_cast<int64_t>(kQueryHeads) * kShape.head_dim;
constexpr int64_t kContextTokens = 4096;
constexpr int64_t kContextPages = kContextTokens / kPageTokens;
// Layers that a decode step walks through: BF16 pages of 100 MB together, beyond the caches.
constexpr int kLayers = 30;
constexpr int kCodedLayers = 8;

// Numbers of a bell shape, as keys and values have it; the same on every machine.
class Numbers {
 public:
  float Next() {
    float sum = 0;
    for (int i = 0; i < 4; ++i) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<float>(static_cast<int32_t>(state_ >> 32)) * 0x1p-31f;
    }
    return sum;
  }

 private:
  uint64_t state_ = 7;
};

std::vector<float> Queries(int64_t rows) {
  Numbers numbers;
  std::vector<float> q(static_cast<size_t>(rows * kWidth));
  for (float& x : q) x = numbers.Next();
  return q;
}

// A layer's pages in BF16 and in code, each page with memory of its own for every layer.
class Pages {
 public:
  Pages(const Kernels& kernels, KvSplit split) : split_(split) {
    Numbers numbers;
    for (int64_t page = 0; page < kContextPages * kLayers; ++page) {
      Block bf16_page(Bf16PageBytes(kShape));
      if (page < kContextPages) {
        auto* values = reinterpret_cast<bf16*>(bf16_page.data());
        for (size_t i = 0; i < bf16_page.size() / 2; ++i) values[i] = ToBf16(numbers.Next());
      } else {
        const Block& same = bf16_[static_cast<size_t>(page % kContextPages)];
        std::copy_n(same.data(), same.size(), bf16_page.data());
      }
      bf16_.push_back(std::move(bf16_page));
      anchor_.emplace_back(AnchorBlockBytes(kShape, split));
      residual_.emplace_back(ResidualBlockBytes(kShape, split));
      LYNX_CHECK(kernels.split_page(SplitArgs(page)) == SplitResult::kCode);
    }
    sinks_ = Block(PackedTokenBytes(kShape) * kSinkTokens);
    PackTokens(kShape, bf16_[0].data(), 0, kSinkTokens, sinks_.data());
  }

  // Page 0 of each layer begins with the sinks.
  SplitPageArgs SplitArgs(int64_t page) {
    const auto i = static_cast<size_t>(page);
    return {.shape = kShape,
            .split = split_,
            .page = bf16_[i].data(),
            .first_token = FirstToken(page),
            .anchor = anchor_[i].data(),
            .residual = residual_[i].data()};
  }
  static int FirstToken(int64_t page) { return page % kContextPages == 0 ? kSinkTokens : 0; }

  std::vector<KvPageRef> Layer(int layer, KvPageKind kind) const {
    std::vector<KvPageRef> pages;
    for (int64_t page = 0; page < kContextPages; ++page) {
      const auto i = static_cast<size_t>(layer * kContextPages + page);
      const Block& data = kind == KvPageKind::kBf16 ? bf16_[i] : anchor_[i];
      pages.push_back({kind, data.data(), residual_[i].data()});
    }
    return pages;
  }

  double PageBytes(KvPageKind kind) const {
    if (kind == KvPageKind::kBf16) return static_cast<double>(Bf16PageBytes(kShape));
    const size_t residual = kind == KvPageKind::kFull ? ResidualBlockBytes(kShape, split_) : 0;
    return static_cast<double>(AnchorBlockBytes(kShape, split_) + residual);
  }
  const std::byte* sinks() const { return sinks_.data(); }
  KvSplit split() const { return split_; }

 private:
  const KvSplit split_;
  std::vector<Block> bf16_, anchor_, residual_;  // [kLayers * kContextPages]
  Block sinks_;
};

std::string SplitName(KvSplit split) { return absl::StrCat("K", split.k_bits, "V", split.v_bits); }

// Operations a value of the scalar specification, a division counting one: a number's code, and the
// ends of its interval with two checks each.
constexpr double kQuantizeOperations = 4;
constexpr double kIntervalOperations = 2 * (2 * kQuantizeOperations + 2);

// One call over some layers' pages, spread over the threads: the code as a prefill server makes it
// and a decode server undoes it. Bytes are those of the pages, their code and their Tails.
void AddCodeRows(KernelBench& bench, Pages& pages) {
  constexpr int64_t kPages = kContextPages * kCodedLayers;
  const Kernels& kernels = bench.kernels();
  const size_t page_bytes = Bf16PageBytes(kShape);
  const double values = static_cast<double>(kPages * static_cast<int64_t>(page_bytes) / 2);
  const double bf16_bytes = static_cast<double>(kPages) * pages.PageBytes(KvPageKind::kBf16);
  const double code_bytes = static_cast<double>(kPages) * pages.PageBytes(KvPageKind::kFull);
  const std::string shape = absl::StrCat(SplitName(pages.split()), " pages=", kPages);
  const auto for_pages = [&](absl::FunctionRef<void(int64_t)> f) {
    bench.pool().ForEach(kPages, [&](int64_t page) { f(page); });
  };
  bench.Add("kv_split", shape, bf16_bytes + code_bytes, values * kQuantizeOperations,
            [&] { for_pages([&](int64_t page) { kernels.split_page(pages.SplitArgs(page)); }); });

  std::vector<std::byte> tails(static_cast<size_t>(kPages) * page_bytes);
  std::vector<size_t> tail_bytes(static_cast<size_t>(kPages));
  const auto encode = [&](int64_t page) {
    const SplitPageArgs made = pages.SplitArgs(page);
    tail_bytes[static_cast<size_t>(page)] =
        kernels.tail_encode({.shape = kShape,
                             .split = made.split,
                             .page = made.page,
                             .first_token = made.first_token,
                             .anchor = made.anchor,
                             .residual = made.residual,
                             .tail = tails.data() + static_cast<size_t>(page) * page_bytes});
  };
  for_pages(encode);
  double total = 0;
  for (size_t bytes : tail_bytes) total += static_cast<double>(bytes);
  const double bytes = bf16_bytes + code_bytes + total;
  bench.Add("tail_enc", shape, bytes, values * (kQuantizeOperations + kIntervalOperations),
            [&] { for_pages(encode); });

  Block out(page_bytes * static_cast<size_t>(bench.pool().threads()));
  bench.Add("tail_dec", shape, bytes, values * kIntervalOperations, [&] {
    bench.pool().Run([&](int worker) {
      for (int64_t page = worker; page < kPages; page += bench.pool().threads()) {
        const SplitPageArgs made = pages.SplitArgs(page);
        const auto i = static_cast<size_t>(page);
        LYNX_CHECK(kernels.tail_decode(
            {.shape = kShape,
             .split = made.split,
             .first_token = made.first_token,
             .anchor = made.anchor,
             .residual = made.residual,
             .tail = std::span<const std::byte>(tails).subspan(i * page_bytes, tail_bytes[i]),
             .page = out.data() + static_cast<size_t>(worker) * page_bytes}));
      }
    });
  });
}

AttentionArgs ArgsOf(const Pages& pages, std::span<const KvPageRef> layer, int64_t rows,
                     int64_t first_position, const std::vector<float>& q, std::vector<bf16>& out) {
  return {.shape = kShape,
          .split = pages.split(),
          .q_heads = kQueryHeads,
          .scale = 0.125f,
          .rows = rows,
          .first_position = first_position,
          .q = q.data(),
          .q_stride = kWidth,
          .pages = layer,
          .sinks = pages.sinks(),
          .out = out.data()};
}

// Two fused multiply-adds for each query head, channel and position that a row sees.
double AttentionOperations(int64_t rows, int64_t first_position) {
  const double seen = static_cast<double>(rows * (2 * first_position + rows + 1)) / 2;
  return 4.0 * seen * static_cast<double>(kWidth);
}

// One token through all layers.
void AddDecodeRow(KernelBench& bench, const Pages& pages, KvPageKind kind, const char* name) {
  const std::vector<float> q = Queries(1);
  std::vector<bf16> out(q.size());
  std::vector<std::vector<KvPageRef>> layers;
  for (int layer = 0; layer < kLayers; ++layer) layers.push_back(pages.Layer(layer, kind));
  bench.Add("attention", absl::StrCat(name, " rows=1 at ", kContextTokens, " x", kLayers),
            pages.PageBytes(kind) * kContextPages * kLayers,
            AttentionOperations(1, kContextTokens - 1) * kLayers, [&] {
              for (const auto& layer : layers) {
                const AttentionArgs args = ArgsOf(pages, layer, 1, kContextTokens - 1, q, out);
                Attention(bench.kernels(), bench.pool(), {&args, 1});
              }
            });
}

// A prefill chunk's rows, the last of which sees `context` positions.
void AddPrefillRow(KernelBench& bench, const Pages& pages, int64_t rows, int64_t context) {
  const std::vector<float> q = Queries(rows);
  std::vector<bf16> out(q.size());
  const std::vector<KvPageRef> layer = pages.Layer(0, KvPageKind::kBf16);
  const AttentionArgs args = ArgsOf(pages, layer, rows, context - rows, q, out);
  const double bytes =
      pages.PageBytes(KvPageKind::kBf16) * static_cast<double>(context) / kPageTokens +
      static_cast<double>(rows * kWidth * 6);  // q and the output
  bench.Add("attention", absl::StrCat("BF16 rows=", rows, " at ", context), bytes,
            AttentionOperations(rows, context - rows), [&] {
              Attention(bench.kernels(), bench.pool(), {&args, 1});
            });
}

}  // namespace

void AddKvRows(KernelBench& bench) {
  {
    Pages pages(bench.kernels(), {5, 4});
    AddCodeRows(bench, pages);
    AddDecodeRow(bench, pages, KvPageKind::kBf16, "BF16");
    AddDecodeRow(bench, pages, KvPageKind::kFull, "full K5V4");
    AddDecodeRow(bench, pages, KvPageKind::kAnchor, "anchor K5V4");
    AddPrefillRow(bench, pages, 512, 512);
    // Which takes the scalar tier many seconds a call.
    if (bench.kernels().name != "scalar") AddPrefillRow(bench, pages, 512, kContextTokens);
  }
  const Pages narrow(bench.kernels(), {4, 4});
  AddDecodeRow(bench, narrow, KvPageKind::kAnchor, "anchor K4V4");
}

}  // namespace lynx::bench
