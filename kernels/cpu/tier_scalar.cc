// The scalar tier: loops over the specification, nothing else. It runs everywhere and judges the
// other tiers.
#include "kernels/cpu/kv_tiers.h"
#include "kernels/cpu/tiers.h"
#include "kernels/kv_code.h"
#include "kernels/kv_pages.h"
#include "kernels/linear_inl.h"

namespace lynx {
namespace {

void Gemm(const GemmArgs& args, int64_t panel_begin, int64_t panel_end) {
  const int64_t first = panel_begin * kPanelColumns;
  int64_t last = panel_end * kPanelColumns;
  if (last > args.w->n) last = args.w->n;
  for (int64_t i = 0; i < args.m; ++i) {
    float* row = args.c + i * args.ldc;
    for (int64_t j = first; j < last; ++j) {
      float sum = DotPacked(args.a + i * args.lda, *args.w, j);
      if (args.bias != nullptr) sum += args.bias[j];
      row[j] = args.accumulate ? sum + row[j] : sum;
    }
  }
}

void RmsNorm(const float* x, const float* weight, float eps, int64_t n, bf16* out) {
  const float inverse = InverseRms(SumOfSquares(x, n), n, eps);
  for (int64_t i = 0; i < n; ++i) out[i] = ToBf16(x[i] * inverse * weight[i]);
}

void SiluMul(const float* gate, const float* up, int64_t n, bf16* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = ToBf16(SiluMulOf(gate[i], up[i]));
}

void GeluMul(const float* gate, const float* up, int64_t n, bf16* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = ToBf16(GeluMulOf(gate[i], up[i]));
}

void Rope(float* x, int64_t heads, int64_t head_dim, const float* cos_sin) {
  const int64_t half = head_dim / 2;
  for (int64_t h = 0; h < heads; ++h, x += head_dim) {
    for (int64_t i = 0; i < half; ++i) {
      RotatePair(x[i], x[half + i], cos_sin[i], cos_sin[half + i]);
    }
  }
}

void Widen(const bf16* row, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = ToFloat(row[i]);
}

int64_t Argmax(const float* x, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i) {
    if (x[best] < x[i]) best = i;
  }
  return best;
}

}  // namespace

const Kernels& ScalarKernels() {
  static constexpr Kernels kTable = [] {
    Kernels table{};
    table.name = "scalar";
    table.gemm = Gemm;
    table.rms_norm = RmsNorm;
    table.silu_mul = SiluMul;
    table.gelu_mul = GeluMul;
    table.rope = Rope;
    table.widen = Widen;
    table.argmax = Argmax;
    table.write_kv = WriteKv;
    table.split_page = SplitPage;
    table.tail_encode = TailEncode;
    table.tail_decode = TailDecode;
    table.attend = AttendScalar;
    return table;
  }();
  return kTable;
}

}  // namespace lynx
