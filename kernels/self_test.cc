#include "kernels/self_test.h"

#include <bit>
#include <cstring>
#include <vector>

#include "kernels/pack.h"

namespace lynx {
namespace {

// Odd sizes on purpose: every loop has a tail.
constexpr int64_t kInputs = 301, kOutputs = 149, kMostRows = 50;
constexpr int64_t kRowLength = 77;

// A small generator of its own: the same numbers on every machine. Values of mixed sign over some
// 20 powers of two, among them zeros and, as BF16, denormals.
class Numbers {
 public:
  float Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    const uint32_t bits = static_cast<uint32_t>(state_ >> 32);
    if ((bits & 63u) == 0) return 0.0f;
    const uint32_t exponent = 117u + ((bits >> 6) & 15u);
    return std::bit_cast<float>((bits & 0x807fffffu) | (exponent << 23));
  }
  std::vector<float> Floats(int64_t n) {
    std::vector<float> v(static_cast<size_t>(n));
    for (float& x : v) x = Next();
    return v;
  }
  std::vector<bf16> Bf16s(int64_t n) {
    std::vector<bf16> v(static_cast<size_t>(n));
    for (bf16& x : v) x = ToBf16(Next());
    v[v.size() / 2] = bf16{0x0041};
    return v;
  }

 private:
  uint64_t state_ = 42;
};

template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

bool GemmAgrees(const Kernels& tier, const Kernels& reference) {
  Numbers numbers;
  HugePageArena memory;
  PackedWeights weights(kOutputs, kInputs, memory);
  weights.SetRows(0, kOutputs, numbers.Bf16s(kOutputs * kInputs).data());
  const PackedMatrix w = weights.view();
  const std::vector<bf16> a = numbers.Bf16s(kMostRows * kInputs);
  const std::vector<float> bias = numbers.Floats(kOutputs);
  const std::vector<float> old = numbers.Floats(kMostRows * kOutputs);
  std::vector<float> want = old;
  GemmArgs args = {.a = a.data(), .lda = kInputs, .w = &w, .ldc = kOutputs, .bias = bias.data()};
  args.accumulate = true;
  args.c = want.data();
  args.m = kMostRows;
  reference.gemm(args, 0, 3);
  // Each of these takes another path through the blocking.
  for (int64_t m : {1, 2, 3, 5, 9, 12, 17, 50}) {
    std::vector<float> got = old;
    args.c = got.data();
    args.m = m;
    tier.gemm(args, 0, 3);
    if (std::memcmp(got.data(), want.data(), m * kOutputs * sizeof(float)) != 0) return false;
  }
  return true;
}

bool RmsNormAgrees(const Kernels& tier, const Kernels& reference) {
  Numbers numbers;
  const std::vector<float> x = numbers.Floats(kRowLength), weight = numbers.Floats(kRowLength);
  std::vector<bf16> got(kRowLength), want(kRowLength);
  tier.rms_norm(x.data(), weight.data(), 1e-5f, kRowLength, got.data());
  reference.rms_norm(x.data(), weight.data(), 1e-5f, kRowLength, want.data());
  return SameBits(got, want);
}

using GatedFunction = void (*)(const float*, const float*, int64_t, bf16*);

bool GatedAgrees(GatedFunction tier, GatedFunction reference) {
  Numbers numbers;
  const std::vector<float> gate = numbers.Floats(kRowLength), up = numbers.Floats(kRowLength);
  std::vector<bf16> got(kRowLength), want(kRowLength);
  tier(gate.data(), up.data(), kRowLength, got.data());
  reference(gate.data(), up.data(), kRowLength, want.data());
  return SameBits(got, want);
}

bool RopeAgrees(const Kernels& tier, const Kernels& reference) {
  constexpr int64_t kHeads = 3, kHeadDim = 42;
  Numbers numbers;
  const std::vector<float> cos_sin = numbers.Floats(kHeadDim);
  std::vector<float> got = numbers.Floats(kHeads * kHeadDim), want = got;
  tier.rope(got.data(), kHeads, kHeadDim, cos_sin.data());
  reference.rope(want.data(), kHeads, kHeadDim, cos_sin.data());
  return SameBits(got, want);
}

bool WidenAgrees(const Kernels& tier, const Kernels& reference) {
  Numbers numbers;
  const std::vector<bf16> row = numbers.Bf16s(kRowLength);
  std::vector<float> got(kRowLength), want(kRowLength);
  tier.widen(row.data(), kRowLength, got.data());
  reference.widen(row.data(), kRowLength, want.data());
  return SameBits(got, want);
}

bool ArgmaxAgrees(const Kernels& tier, const Kernels& reference) {
  Numbers numbers;
  for (int64_t n : {1, 15, 16, 40, 77}) {
    std::vector<float> x = numbers.Floats(n);
    x[static_cast<size_t>(n / 2)] = x[static_cast<size_t>(n - 1)] = 1e9f;  // a tie
    if (tier.argmax(x.data(), n) != reference.argmax(x.data(), n)) return false;
  }
  return true;
}

}  // namespace

std::string_view FirstLinearMismatch(const Kernels& tier, const Kernels& reference) {
  if (!GemmAgrees(tier, reference)) return "gemm";
  if (!RmsNormAgrees(tier, reference)) return "rms_norm";
  if (!GatedAgrees(tier.silu_mul, reference.silu_mul)) return "silu_mul";
  if (!GatedAgrees(tier.gelu_mul, reference.gelu_mul)) return "gelu_mul";
  if (!RopeAgrees(tier, reference)) return "rope";
  if (!WidenAgrees(tier, reference)) return "widen";
  if (!ArgmaxAgrees(tier, reference)) return "argmax";
  return "";
}

}  // namespace lynx
