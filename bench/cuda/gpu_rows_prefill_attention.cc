// Attention of the prefill's chunks over BF16 pages.
#include "bench/cuda/gpu_pages.h"
#include "kernels/cuda/prefill_attention.h"

namespace lynx::bench {
namespace {

using cuda::DeviceBuffer;
using cuda::ToStatus;

// Sequences with so many tokens before the chunk.
struct Case {
  int64_t before, sequences;
  int32_t rows;
};

struct Model {
  KvShape shape;
  int q_heads;
  std::vector<Case> cases;
};
const Model kModel = {{8, 128},
                      32,
                      {{0, 1, 512},
                       {0, 8, 512},
                       {0, 1, 2048},
                       {0, 1, 8192},
                       {7680, 1, 512},
                       {32256, 1, 512},
                       {130560, 1, 512}}};
const Model kTiny = {{1, 64}, 2, {{0, 1, 70}, {100, 2, 30}}};

absl::Status AddCase(GpuBench& bench, const Model& model, const Case& c) {
  const int64_t pages_each = (c.before + c.rows + kPageTokens - 1) / kPageTokens;
  ASSIGN_OR_RETURN(const GpuPages pages, GpuPages::Create(model.shape, {}, c.sequences * pages_each,
                                                          /*code=*/false, bench.stream()));
  ASSIGN_OR_RETURN(const auto refs, OnDevice(pages.Refs(KvPageKind::kBf16), bench.stream()));
  std::vector<cuda::PrefillSequence> sequences;
  for (int64_t i = 0; i < c.sequences; ++i) {
    sequences.push_back({.pages = refs.data() + i * pages_each,
                         .page_stride = pages_each,
                         .first_position = c.before,
                         .row_begin = static_cast<int32_t>(i) * c.rows,
                         .rows = c.rows});
  }
  ASSIGN_OR_RETURN(const auto device_sequences, OnDevice(sequences, bench.stream()));
  const int64_t width = int64_t{model.q_heads} * model.shape.head_dim;
  const int64_t rows = c.sequences * c.rows;
  ASSIGN_OR_RETURN(const auto q, RandomFloats(rows * width, bench.stream()));
  ASSIGN_OR_RETURN(const auto out, DeviceBuffer<bf16>::Create(static_cast<size_t>(rows * width)));
  const cuda::PrefillAttentionParams params = {.shape = model.shape,
                                               .q_heads = model.q_heads,
                                               .scale = 0.125f,
                                               .sequences = device_sequences.data(),
                                               .sequence_count = c.sequences,
                                               .max_rows = c.rows,
                                               .q = q.data(),
                                               .q_stride = width,
                                               .out = out.data(),
                                               .out_stride = width};
  // Two multiply-adds for each query head, channel and position that a row sees.
  const double seen =
      static_cast<double>(rows) * (static_cast<double>(c.before) + (c.rows + 1) / 2.0);
  const double bytes = static_cast<double>(pages.count()) * pages.PageBytes(KvPageKind::kBf16) +
                       6 * static_cast<double>(rows * width);
  return bench.Add("attn_prefill",
                   absl::StrCat("before=", c.before, " sequences=", c.sequences, " rows=", c.rows),
                   bytes, 4 * seen * static_cast<double>(width), [&] {
                     return ToStatus(cuda::PrefillAttention(params, bench.stream()),
                                     "the prefill's attention");
                   });
}

}  // namespace

absl::Status AddPrefillAttentionRows(GpuBench& bench) {
  if (!bench.Wants("attn_prefill")) return absl::OkStatus();
  const Model& model = bench.tiny() ? kTiny : kModel;
  for (const Case& c : model.cases) {
    RETURN_IF_ERROR(AddCase(bench, model, c));
  }
  return absl::OkStatus();
}

}  // namespace lynx::bench
