// One backend's operations: a table of functions, chosen once (SelectKernels) and passed
// explicitly. Each does one worker's share, without allocation; kernels/parallel.h spreads shares
// over threads. Every tier gives the same bits, and a row's result does not depend on how many rows
// stand beside it (docs/exactness.md). The arithmetic is written once, in *_inl.h.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/attention.h"
#include "kernels/kv_split.h"
#include "runtime/bf16.h"

namespace lynx {

// Weights of a linear layer for gemm: [ceil(n/64)][ceil(k/2)][64][2], zero-padded. Not owning.
struct PackedMatrix {
  const bf16* data = nullptr;  // 64-byte aligned
  int64_t n = 0;               // outputs
  int64_t k = 0;               // inputs
};
inline constexpr int64_t kPanelColumns = 64;

// c[i, j] (+)= sum_k a[i, k] * w[j, k] (+ bias[j]). A value is one chain of fused multiply-adds
// from 0 in the order k = 1, 0, 3, 2, ... (vdpbf16ps's), then bias, then the old c if `accumulate`.
struct GemmArgs {
  const bf16* a = nullptr;  // [m, k], row stride lda
  int64_t lda = 0;
  const PackedMatrix* w = nullptr;
  float* c = nullptr;  // [m, n], row stride ldc
  int64_t ldc = 0;
  int64_t m = 0;
  const float* bias = nullptr;  // [n] or null
  bool accumulate = false;
};

struct Kernels {
  std::string_view name;  // "scalar", "avx2", "avx512", "avx512_bf16"

  // Columns [64 * panel_begin, 64 * panel_end) of the product, for all m rows.
  void (*gemm)(const GemmArgs& args, int64_t panel_begin, int64_t panel_end);

  // out[n] = bf16(x[n] / sqrt(mean(x^2) + eps) * weight[n]); one row.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, bf16* out);

  // out[n] = bf16(silu(gate[n]) * up[n]); one row.
  void (*silu_mul)(const float* gate, const float* up, int64_t n, bf16* out);

  // out[n] = bf16(gelu_tanh(gate[n]) * up[n]); one row.
  void (*gelu_mul)(const float* gate, const float* up, int64_t n, bf16* out);

  // Rotates each of `heads` vectors x[heads, head_dim] in place, halves (i, i + head_dim / 2) as
  // pairs: cos_sin is [2, head_dim / 2] for this row's position.
  void (*rope)(float* x, int64_t heads, int64_t head_dim, const float* cos_sin);

  // out[n] = float(row[n]).
  void (*widen)(const bf16* row, int64_t n, float* out);

  // Index of the largest of x[n]; the lowest index among equals. n > 0, no NaN.
  int64_t (*argmax)(const float* x, int64_t n);

  // See kernels/kv_split.h and kernels/attention.h for the contracts of these.
  void (*write_kv)(const WriteKvArgs& args);
  SplitResult (*split_page)(const SplitPageArgs& args);
  size_t (*tail_encode)(const TailEncodeArgs& args);
  bool (*tail_decode)(const TailDecodeArgs& args);
  void (*attend)(const AttentionArgs& args, const AttentionShare& share, std::byte* scratch);
};

// All tiers that this machine can run, slowest ("scalar") first.
std::vector<const Kernels*> AvailableKernels();

// The fastest tier whose results equal the scalar tier's on a self-test of every operation (run
// once, some milliseconds). A tier that differs is logged and left out. `wanted` empty: the
// fastest; else that tier, or null if it is unknown, not supported here or wrong.
const Kernels* SelectKernels(std::string_view wanted = "");

}  // namespace lynx
