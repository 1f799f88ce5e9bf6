#include "tests/simt_test/flash_decode.h"

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ptx.cuh"

namespace lynx::testing {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kRow = kHeadDim + 8;  // elements: the rows of a matrix lie in different banks
constexpr float kNegInf = -INFINITY;

LYNX_DEVICE uint32_t PackBf16(float low, float high) {
  const uint32_t l = __bfloat16_as_ushort(__float2bfloat16_rn(low));
  const uint32_t h = __bfloat16_as_ushort(__float2bfloat16_rn(high));
  return l | h << 16;
}

struct Shared {
  uint8_t* stage[2];  // [kPageBytes]
  __nv_bfloat16* q;   // [16, kRow]
  __nv_bfloat16* k;   // [kPage, kRow]
  __nv_bfloat16* v;   // [kPage, kRow]
  float* warp_out;    // [kWarps, kHeads, kHeadDim]
  float* warp_stats;  // [kWarps, kHeads, 2]
};

size_t SmemBytes() {
  size_t end = 0;
  end = SmemEnd(end, kPageBytes);
  end = SmemEnd(end, kPageBytes);
  end = SmemEnd(end, 16 * kRow * 2);
  end = SmemEnd(end, kPage * kRow * 2);
  end = SmemEnd(end, kPage * kRow * 2);
  end = SmemEnd(end, kWarps * kHeads * kHeadDim * 4);
  return SmemEnd(end, kWarps * kHeads * 2 * 4);
}

LYNX_DEVICE Shared TakeShared() {
  SmemAlloc smem;
  Shared s;
  s.stage[0] = smem.Take<uint8_t>(kPageBytes);
  s.stage[1] = smem.Take<uint8_t>(kPageBytes);
  s.q = smem.Take<__nv_bfloat16>(16 * kRow);
  s.k = smem.Take<__nv_bfloat16>(kPage * kRow);
  s.v = smem.Take<__nv_bfloat16>(kPage * kRow);
  s.warp_out = smem.Take<float>(kWarps * kHeads * kHeadDim);
  s.warp_stats = smem.Take<float>(kWarps * kHeads * 2);
  return s;
}

LYNX_DEVICE void IssuePage(uint8_t* stage, const FlashDecodeParams& p, int sequence, int page) {
  const int shift = p.fault == Fault::kTableOffByOne ? 1 : 0;
  const int id = p.table[sequence * p.max_pages + page + shift];
  const uint8_t* src = p.pages + static_cast<int64_t>(id) * kPageBytes;
  for (int i = static_cast<int>(threadIdx.x) * 16; i < kPageBytes; i += kThreads * 16) {
    CpAsync16(stage + i, src + i);
  }
}

LYNX_DEVICE void LoadQuery(const Shared& s, const FlashDecodeParams& p, int sequence) {
  for (int i = static_cast<int>(threadIdx.x); i < 16 * kHeadDim; i += kThreads) {
    const int row = i / kHeadDim;
    const int c = i % kHeadDim;
    if (p.fault == Fault::kUnwrittenElement && row == 3 && c == 5) continue;
    const uint16_t x = row < kHeads ? p.q[(sequence * kHeads + row) * kHeadDim + c] : uint16_t{0};
    s.q[row * kRow + c] = __ushort_as_bfloat16(x);
  }
}

// Four codes at a time, to bf16.
LYNX_DEVICE void Dequantize(__nv_bfloat16* dst, const uint8_t* codes, const uint8_t* scales,
                            Fault fault, int row) {
  constexpr int kWords = kCodeBytes / 4;
  const auto* scale = reinterpret_cast<const float*>(scales);
  const int end = fault == Fault::kRowPastEnd ? kWords + kHeadDim / 4 : kWords;
  for (int i = static_cast<int>(threadIdx.x); i < end; i += kThreads) {
    const int token = i / (kHeadDim / 4);
    const int c = i % (kHeadDim / 4) * 4;
    const int at = fault == Fault::kMisaligned ? i % kWords * 4 ^ 1 : i % kWords * 4;
    const uint32_t word = *reinterpret_cast<const uint32_t*>(codes + at);
    float x[4];
    for (int j = 0; j < 4; ++j) {
      x[j] =
          static_cast<float>(static_cast<int>(word >> (8 * j) & 255u) - kCodeZero) * scale[c + j];
    }
    auto* out = reinterpret_cast<uint2*>(dst + token * row + c);
    *out = make_uint2(PackBf16(x[0], x[1]), PackBf16(x[2], x[3]));
  }
}

// One warp's state: rows `lane / 4` and + 8 of 16, of which kHeads are queries.
struct Softmax {
  float max[2] = {kNegInf, kNegInf};
  float sum[2] = {};
  float out[kHeadDim / 8][4] = {};
};

// s[16 queries, 16 tokens of this warp] = q * k^T.
LYNX_DEVICE void Scores(float (&s)[2][4], const Shared& sh, int warp, int lane, int row) {
  for (int c = 0; c < kHeadDim; c += 16) {
    uint32_t a[4];
    uint32_t b[4];
    Ldmatrix4(a, sh.q + lane % 16 * kRow + c + lane / 16 * 8);
    Ldmatrix4(b, sh.k + (warp * 16 + lane / 16 * 8 + lane % 8) * row + c + lane / 8 % 2 * 8);
    MmaBf16(s[0], a, b[0], b[1]);
    MmaBf16(s[1], a, b[2], b[3]);
  }
}

// Scores become weights; `state` is brought to the new maximum.
LYNX_DEVICE void Weigh(float (&s)[2][4], Softmax& state, const FlashDecodeParams& p,
                       int first_token, int length, int lane) {
  float page_max[2] = {kNegInf, kNegInf};
  for (int n = 0; n < 2; ++n) {
    for (int e = 0; e < 4; ++e) {
      const int token = first_token + n * 8 + lane % 4 * 2 + e % 2;
      const bool in = p.fault == Fault::kMaskOffByOne ? token <= length : token < length;
      s[n][e] = in ? s[n][e] * p.scale : kNegInf;
      page_max[e / 2] = fmaxf(page_max[e / 2], s[n][e]);
    }
  }
  float base[2];
  for (int r = 0; r < 2; ++r) {
    if (p.fault == Fault::kDivergentShuffle && lane % 4 == 3) continue;
    page_max[r] = fmaxf(page_max[r], __shfl_xor_sync(~0u, page_max[r], 1));
    page_max[r] = fmaxf(page_max[r], __shfl_xor_sync(~0u, page_max[r], 2));
    const float now = fmaxf(state.max[r], page_max[r]);
    // A row that has seen no token yet must not give inf - inf.
    base[r] = now != kNegInf || p.fault == Fault::kInfMinusInf ? now : 0.0f;
    const float shrink = Exp2(state.max[r] - base[r]);
    state.max[r] = now;
    state.sum[r] *= shrink;
    for (auto& o : state.out) {
      o[2 * r] *= shrink;
      o[2 * r + 1] *= shrink;
    }
  }
  for (int n = 0; n < 2; ++n) {
    for (int e = 0; e < 4; ++e) {
      s[n][e] = Exp2(s[n][e] - base[e / 2]);
      state.sum[e / 2] += s[n][e];
    }
  }
}

LYNX_DEVICE void AddValues(const float (&s)[2][4], Softmax& state, const Shared& sh, Fault fault,
                           int warp, int lane, int row) {
  uint32_t a[4] = {PackBf16(s[0][0], s[0][1]), PackBf16(s[0][2], s[0][3]),
                   PackBf16(s[1][0], s[1][1]), PackBf16(s[1][2], s[1][3])};
  if (fault == Fault::kFragmentSwapped) std::swap(a[1], a[2]);
  for (int n = 0; n < kHeadDim / 8; n += 2) {
    uint32_t b[4];
    Ldmatrix4Trans(b, sh.v + (warp * 16 + lane % 16) * row + n * 8 + lane / 16 * 8);
    MmaBf16(state.out[n], a, b[0], b[1]);
    MmaBf16(state.out[n + 1], a, b[2], b[3]);
  }
}

LYNX_DEVICE void WriteWarp(const Shared& sh, Softmax& state, int warp, int lane) {
  for (float& sum : state.sum) {
    sum += __shfl_xor_sync(~0u, sum, 1);
    sum += __shfl_xor_sync(~0u, sum, 2);
  }
  const int head = lane / 4;
  if (head >= kHeads) return;
  for (int n = 0; n < kHeadDim / 8; ++n) {
    for (int e = 0; e < 2; ++e) {
      sh.warp_out[(warp * kHeads + head) * kHeadDim + n * 8 + lane % 4 * 2 + e] = state.out[n][e];
    }
  }
  if (lane % 4 != 0) return;
  sh.warp_stats[(warp * kHeads + head) * 2] = state.max[0];
  sh.warp_stats[(warp * kHeads + head) * 2 + 1] = state.sum[0];
}

LYNX_DEVICE void MergeWarps(const Shared& sh, const FlashDecodeParams& p, int sequence, int split) {
  for (int i = static_cast<int>(threadIdx.x); i < kHeads * kHeadDim; i += kThreads) {
    const int head = i / kHeadDim;
    const int c = i % kHeadDim;
    float max = kNegInf;
    for (int w = 0; w < kWarps; ++w) max = fmaxf(max, sh.warp_stats[(w * kHeads + head) * 2]);
    float sum = 0;
    float out = 0;
    for (int w = 0; w < kWarps; ++w) {
      const float warp_max = sh.warp_stats[(w * kHeads + head) * 2];
      const float weight = warp_max == kNegInf ? 0.0f : Exp2(warp_max - max);
      sum += sh.warp_stats[(w * kHeads + head) * 2 + 1] * weight;
      out += sh.warp_out[(w * kHeads + head) * kHeadDim + c] * weight;
    }
    const int slot = p.fault == Fault::kOthersSlot ? split / 2 * 2 : split;
    const int at = (sequence * kHeads + head) * p.splits + slot;
    p.part_out[at * kHeadDim + c] = out;
    if (c != 0) continue;
    p.part_stats[at * 2] = max;
    p.part_stats[at * 2 + 1] = sum;
  }
}

__global__ void __launch_bounds__(kThreads) SplitKernel(const FlashDecodeParams p) {
  const Shared sh = TakeShared();
  const int split = static_cast<int>(blockIdx.x);
  const int sequence = static_cast<int>(blockIdx.y);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int length = p.lengths[sequence];
  const int pages = (length + kPage - 1) / kPage;
  const int per_split = (pages + p.splits - 1) / p.splits;
  const int first = split * per_split;
  const int end = min(pages, first + per_split);
  const int row = p.fault == Fault::kBankConflicts ? kHeadDim : kRow;

  if (first < end) IssuePage(sh.stage[0], p, sequence, first);
  CpAsyncCommit();
  LoadQuery(sh, p, sequence);
  Softmax state;
  for (int page = first; page < end; ++page) {
    const int current = p.fault == Fault::kOneStage ? 0 : (page - first) % 2;
    const int next = p.fault == Fault::kOneStage ? 0 : 1 - current;
    if (page + 1 < end) IssuePage(sh.stage[next], p, sequence, page + 1);
    CpAsyncCommit();
    if (p.fault == Fault::kWeakWait) {
      CpAsyncWait<2>();
    } else {
      CpAsyncWait<1>();
    }
    if (p.fault != Fault::kNoBarrierAfterWait) __syncthreads();
    const uint8_t* stage = sh.stage[current];
    Dequantize(sh.k, stage, stage + 2 * kCodeBytes, p.fault, row);
    Dequantize(sh.v, stage + kCodeBytes, stage + 2 * kCodeBytes + kScaleBytes, p.fault, row);
    if (p.fault != Fault::kNoBarrierBeforeMma) __syncthreads();
    float s[2][4] = {};
    Scores(s, sh, warp, lane, row);
    Weigh(s, state, p, page * kPage + warp * 16, length, lane);
    AddValues(s, state, sh, p.fault, warp, lane, row);
  }
  CpAsyncWait<0>();
  WriteWarp(sh, state, warp, lane);
  if (p.fault != Fault::kNoBarrierBeforeMerge) __syncthreads();
  MergeWarps(sh, p, sequence, split);
}

// One warp for each head.
__global__ void __launch_bounds__(32) MergeKernel(const FlashDecodeParams p) {
  const int row = static_cast<int>(blockIdx.x);
  const int lane = static_cast<int>(threadIdx.x);
  float max = kNegInf;
  for (int s = lane; s < p.splits; s += 32) {
    max = fmaxf(max, p.part_stats[(row * p.splits + s) * 2]);
  }
  for (int x = 16; x > 0; x /= 2) max = fmaxf(max, __shfl_xor_sync(~0u, max, x));
  float sum = 0;
  float out[2] = {};
  for (int s = 0; s < p.splits; ++s) {
    const float split_max = p.part_stats[(row * p.splits + s) * 2];
    const float weight = split_max == kNegInf ? 0.0f : Exp2(split_max - max);
    sum += p.part_stats[(row * p.splits + s) * 2 + 1] * weight;
    for (int j = 0; j < 2; ++j) {
      out[j] += p.part_out[(row * p.splits + s) * kHeadDim + lane + 32 * j] * weight;
    }
  }
  for (int j = 0; j < 2; ++j) {
    p.out[row * kHeadDim + lane + 32 * j] = sum > 0 ? out[j] / sum : 0.0f;
  }
}

}  // namespace

cudaError_t FlashDecode(const FlashDecodeParams& p, cudaStream_t stream) {
  const auto splits = static_cast<unsigned>(p.splits);
  const auto sequences = static_cast<unsigned>(p.sequences);
  const cudaError_t error = Launch("FlashDecodeSplit", SplitKernel, dim3(splits, sequences),
                                   dim3(kThreads), SmemBytes(), stream, p);
  if (error != cudaSuccess) return error;
  return Launch("FlashDecodeMerge", MergeKernel, dim3(sequences * kHeads), dim3(32), 0, stream, p);
}

}  // namespace lynx::testing
