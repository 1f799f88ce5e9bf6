// The start-up check notices a tier that differs in one operation.
#include "kernels/self_test.h"

#include <catch2/catch.hpp>

#include "kernels/cpu/tiers.h"
#include "kernels/kv_self_test.h"
#include "runtime/cpu.h"
#include "tests/kernels/all_tiers.h"

namespace lynx {
namespace {

// The reference's product, with the last value's last bit turned.
void WrongGemm(const GemmArgs& args, int64_t begin, int64_t end) {
  ScalarKernels().gemm(args, begin, end);
  float& last = args.c[(args.m - 1) * args.ldc + args.w->n - 1];
  last = std::bit_cast<float>(std::bit_cast<uint32_t>(last) ^ 1u);
}
void WrongNorm(const float* x, const float* w, float eps, int64_t n, bf16* out) {
  ScalarKernels().rms_norm(x, w, eps, n, out);
  out[n - 1].bits ^= 1;
}
void WrongGate(const float* gate, const float* up, int64_t n, bf16* out) {
  ScalarKernels().silu_mul(gate, up, n, out);
  out[0].bits ^= 1;
}
void WrongRope(float* x, int64_t heads, int64_t head_dim, const float* cos_sin) {
  ScalarKernels().rope(x, heads - 1, head_dim, cos_sin);
}
void WrongWiden(const bf16* row, int64_t n, float* out) {
  ScalarKernels().widen(row, n, out);
  out[n / 2] = 0;  // loses the denormal
}
int64_t LastArgmax(const float* x, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i) best = x[best] <= x[i] ? i : best;
  return best;
}

TEST_CASE("the self-test names the operation that differs") {
  SetExactFloatMode();
  const Kernels& scalar = ScalarKernels();
  CHECK(FirstLinearMismatch(scalar, scalar).empty());
  Kernels wrong = scalar;
  wrong.gemm = WrongGemm;
  CHECK(FirstLinearMismatch(wrong, scalar) == "gemm");
  wrong = scalar;
  wrong.rms_norm = WrongNorm;
  CHECK(FirstLinearMismatch(wrong, scalar) == "rms_norm");
  wrong = scalar;
  wrong.silu_mul = WrongGate;
  CHECK(FirstLinearMismatch(wrong, scalar) == "silu_mul");
  wrong = scalar;
  wrong.gelu_mul = scalar.silu_mul;
  CHECK(FirstLinearMismatch(wrong, scalar) == "gelu_mul");
  wrong = scalar;
  wrong.rope = WrongRope;
  CHECK(FirstLinearMismatch(wrong, scalar) == "rope");
  wrong = scalar;
  wrong.widen = WrongWiden;
  CHECK(FirstLinearMismatch(wrong, scalar) == "widen");
  wrong = scalar;
  wrong.argmax = LastArgmax;
  CHECK(FirstLinearMismatch(wrong, scalar) == "argmax");
}

TEST_CASE("every tier passes the self-test, emulated ones too") {
  SetExactFloatMode();
  for (const Kernels* kernels : testing::AllTiers()) {
    INFO(kernels->name);
    CHECK(FirstLinearMismatch(*kernels, ScalarKernels()) == "");
    CHECK(FirstKvMismatch(*kernels, ScalarKernels()) == "");
  }
}

}  // namespace
}  // namespace lynx
