// Embeddings, norms, rotations and gates, with a model of 8 billion parameters' sizes.

#include "bench/cuda/gpu_bench.h"
#include "kernels/cuda/embed.h"
#include "kernels/cuda/gelu_mul.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/silu_mul.h"
#include "kernels/kv_split.h"

namespace lynx::bench {
namespace {

using cuda::DeviceBuffer;
using cuda::ToStatus;

struct Sizes {
  int64_t hidden, columns, vocab;  // columns: of an MLP
  int64_t q_heads, kv_heads, head_dim;
  std::vector<int64_t> rows;
};
const Sizes kModel = {4096, 14336, 128256, 32, 8, 128, {1, 16, 512, 8192}};
const Sizes kTiny = {64, 96, 50, 2, 1, 64, {1, 5}};

// Adds a row for n values of `bytes` and `operations` each.
struct Cost {
  double bytes, operations;
};
absl::Status AddValues(GpuBench& bench, const char* kernel, int64_t rows, int64_t columns,
                       Cost cost, GpuCall call) {
  const auto values = static_cast<double>(rows * columns);
  return bench.Add(kernel, absl::StrCat("rows=", rows, " n=", columns), values * cost.bytes,
                   values * cost.operations, call);
}

absl::Status AddEmbed(GpuBench& bench, const Sizes& sizes, int64_t rows) {
  if (!bench.Wants("embed")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto table, RandomBf16s(sizes.vocab * sizes.hidden, bench.stream()));
  std::vector<int32_t> tokens(static_cast<size_t>(rows));
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<int32_t>(static_cast<int64_t>(i) * 7919 % sizes.vocab);
  }
  ASSIGN_OR_RETURN(const auto device_tokens, OnDevice(tokens, bench.stream()));
  ASSIGN_OR_RETURN(const auto out,
                   DeviceBuffer<float>::Create(static_cast<size_t>(rows * sizes.hidden)));
  const cuda::EmbedParams params = {.table = table.data(),
                                    .tokens = device_tokens.data(),
                                    .out = out.data(),
                                    .rows = rows,
                                    .hidden = sizes.hidden};
  return AddValues(bench, "embed", rows, sizes.hidden, {6, 0},
                   [&] { return ToStatus(cuda::Embed(params, bench.stream()), "embed"); });
}

absl::Status AddNorms(GpuBench& bench, const Sizes& sizes, int64_t rows) {
  if (!bench.Wants("rms_norm") && !bench.Wants("rms_norm+delta")) return absl::OkStatus();
  const int64_t values = rows * sizes.hidden;
  ASSIGN_OR_RETURN(const auto x, RandomFloats(values, bench.stream()));
  // Zeros: adding them again and again changes nothing.
  ASSIGN_OR_RETURN(const auto delta, DeviceBuffer<float>::Create(static_cast<size_t>(values)));
  RETURN_IF_ERROR(
      ToStatus(cudaMemsetAsync(delta.data(), 0, delta.bytes(), bench.stream()), "a memset"));
  ASSIGN_OR_RETURN(const auto weight, RandomFloats(sizes.hidden, bench.stream()));
  ASSIGN_OR_RETURN(const auto out, DeviceBuffer<bf16>::Create(static_cast<size_t>(values)));
  cuda::RmsNormParams params = {.x = x.data(),
                                .weight = weight.data(),
                                .out = out.data(),
                                .rows = rows,
                                .hidden = sizes.hidden,
                                .eps = 1e-5f};
  const auto call = [&] { return ToStatus(cuda::RmsNorm(params, bench.stream()), "rms_norm"); };
  RETURN_IF_ERROR(AddValues(bench, "rms_norm", rows, sizes.hidden, {6, 4}, call));
  params.delta = delta.data();
  return AddValues(bench, "rms_norm+delta", rows, sizes.hidden, {14, 5}, call);
}

absl::Status AddGates(GpuBench& bench, const Sizes& sizes, int64_t rows) {
  if (!bench.Wants("silu_mul") && !bench.Wants("gelu_mul")) return absl::OkStatus();
  const int64_t values = rows * sizes.columns;
  ASSIGN_OR_RETURN(const auto gate_up, RandomFloats(2 * values, bench.stream()));
  ASSIGN_OR_RETURN(const auto out, DeviceBuffer<bf16>::Create(static_cast<size_t>(values)));
  const cuda::SiluMulParams silu = {gate_up.data(), out.data(), rows, sizes.columns};
  const cuda::GeluMulParams gelu = {gate_up.data(), out.data(), rows, sizes.columns};
  RETURN_IF_ERROR(AddValues(bench, "silu_mul", rows, sizes.columns, {10, 25}, [&] {
    return ToStatus(cuda::SiluMul(silu, bench.stream()), "silu_mul");
  }));
  return AddValues(bench, "gelu_mul", rows, sizes.columns, {10, 30},
                   [&] { return ToStatus(cuda::GeluMul(gelu, bench.stream()), "gelu_mul"); });
}

// Row i is token i of a sequence.
absl::Status AddRope(GpuBench& bench, const Sizes& sizes, int64_t rows) {
  if (!bench.Wants("rope_write_kv")) return absl::OkStatus();
  const int64_t width = (sizes.q_heads + 2 * sizes.kv_heads) * sizes.head_dim;
  const KvShape shape = {static_cast<int>(sizes.kv_heads), static_cast<int>(sizes.head_dim)};
  const int64_t pages = (rows + kPageTokens - 1) / kPageTokens;
  const size_t page_bytes = Bf16PageBytes(shape);
  ASSIGN_OR_RETURN(const auto qkv, RandomFloats(rows * width, bench.stream()));
  ASSIGN_OR_RETURN(const auto cos_sin, RandomFloats(rows * sizes.head_dim, bench.stream()));
  ASSIGN_OR_RETURN(const auto q, DeviceBuffer<float>::Create(
                                     static_cast<size_t>(rows * sizes.q_heads * sizes.head_dim)));
  ASSIGN_OR_RETURN(const auto memory,
                   DeviceBuffer<std::byte>::Create(static_cast<size_t>(pages) * page_bytes));
  std::vector<cuda::PageRef> table;
  for (int64_t page = 0; page < pages; ++page) {
    table.push_back({.data = memory.data() + static_cast<size_t>(page) * page_bytes});
  }
  ASSIGN_OR_RETURN(const auto device_table, OnDevice(table, bench.stream()));
  std::vector<cuda::RowPlace> row_places;
  for (int64_t row = 0; row < rows; ++row) {
    row_places.push_back({.page = device_table.data() + row / kPageTokens,
                          .token_in_page = static_cast<int32_t>(row % kPageTokens)});
  }
  ASSIGN_OR_RETURN(const auto places, OnDevice(row_places, bench.stream()));
  const cuda::RopeWriteKvParams params = {.qkv = qkv.data(),
                                          .cos_sin = cos_sin.data(),
                                          .q = q.data(),
                                          .q_stride = sizes.q_heads * sizes.head_dim,
                                          .places = places.data(),
                                          .rows = rows,
                                          .q_heads = sizes.q_heads,
                                          .kv_heads = sizes.kv_heads,
                                          .head_dim = sizes.head_dim};
  // Q: 4 bytes in and out; K and V: 4 in and 2 out.
  const auto q_values = static_cast<double>(rows * sizes.q_heads * sizes.head_dim);
  const auto k_values = static_cast<double>(rows * sizes.kv_heads * sizes.head_dim);
  return bench.Add("rope_write_kv", absl::StrCat("rows=", rows, " n=", width),
                   8 * q_values + 12 * k_values, 3 * (q_values + k_values), [&] {
                     return ToStatus(cuda::RopeWriteKv(params, bench.stream()), "rope_write_kv");
                   });
}

}  // namespace

absl::Status AddRowOperationRows(GpuBench& bench) {
  const Sizes& sizes = bench.tiny() ? kTiny : kModel;
  for (const int64_t rows : sizes.rows) {
    RETURN_IF_ERROR(AddEmbed(bench, sizes, rows));
    RETURN_IF_ERROR(AddNorms(bench, sizes, rows));
    RETURN_IF_ERROR(AddRope(bench, sizes, rows));
    RETURN_IF_ERROR(AddGates(bench, sizes, rows));
  }
  return absl::OkStatus();
}

}  // namespace lynx::bench
