#include "kernels/attention_inl.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_page.cuh"
#include "kernels/cuda/code_fragments.cuh"
#include "kernels/cuda/code_steps.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/exp_inl.h"
#include "kernels/cuda/fragments.cuh"
#include "kernels/cuda/ptx.cuh"

namespace lynx::cuda {
namespace {

static_assert(kTileRows == kAttentionTileRows);
static_assert(kPlaneWarps == kWarps);

constexpr int kRingPages = 2;  // BF16 pages that the ring of stages holds
constexpr int kMaxStages = 5;  // more would not be waited for
constexpr int kTokenSteps = kPageTokens / 16;

// The page being worked on.
enum class Step { kNone, kSinks, kBf16, kAnchor, kFull };
LYNX_DEVICE bool IsCode(Step step) { return step == Step::kAnchor || step == Step::kFull; }

// Shared memory; the host counts the same.
template <int kHeadDim>
struct Shared {
  static constexpr int kFragmentWords = kTileRows * kHeadDim / 2;
  static constexpr int kWeightWords = kTileRows * kPageTokens / 2;

  std::byte* ring;       // kRingPages BF16 pages of a head, cut into stages
  uint32_t* query;       // fragments of h(q * scale)
  uint32_t* folded[2];   // fragments of the folded query: high, low
  uint32_t* weights[2];  // fragments of the page's weights: high, low
  float2* key_scales;    // [head_dim] step and offset, of the current page
  float2* value_scales;  // [2, head_dim], of the current page and the next by turns
  float* max;            // [4 warps, 16 rows]
  float* sum;            // [4 warps, 16 rows]
  float* bias;           // [16 rows]: b

  LYNX_DEVICE explicit Shared(SmemAlloc alloc) {
    ring = alloc.Take<std::byte>(kRingPages * kBf16HeadBytes<kHeadDim>);
    query = alloc.Take<uint32_t>(kFragmentWords);
    for (auto& part : folded) part = alloc.Take<uint32_t>(kFragmentWords);
    for (auto& part : weights) part = alloc.Take<uint32_t>(kWeightWords);
    key_scales = alloc.Take<float2>(kHeadDim);
    value_scales = alloc.Take<float2>(2 * kHeadDim);
    max = alloc.Take<float>(kWarps * kTileRows);
    sum = alloc.Take<float>(kWarps * kTileRows);
    bias = alloc.Take<float>(kTileRows);
  }
  static constexpr size_t Bytes() {
    return kRingPages * kBf16HeadBytes<kHeadDim> + 3 * kFragmentWords * 4 + 2 * kWeightWords * 4 +
           3 * kHeadDim * sizeof(float2) + 2 * kWarps * kTileRows * 4 + 128;
  }
};

// One tile, KV head and split.
template <int kHeadDim>
class SplitBlock {
 public:
  LYNX_DEVICE SplitBlock(const AttentionParams& p, SmemAlloc alloc)
      : p_(p),
        shared_(alloc),
        item_(p.items[blockIdx.x]),
        tile_(p.tiles[item_.tile]),
        sequence_(p.sequences[tile_.sequence]),
        head_(static_cast<int>(blockIdx.y)),
        group_(p.q_heads / p.shape.kv_heads),
        warp_(static_cast<int>(threadIdx.x) / kWarpLanes),
        lane_(static_cast<int>(threadIdx.x) % kWarpLanes),
        pages_(sequence_.pages + p.layer * sequence_.page_stride),
        sizes_(kHeadDim, p.split) {}

  LYNX_DEVICE void Run() {
    FindSteps();
    for (int i = 0; i < stages_ - 1; ++i) Copy(i);
    LoadQuery();
    WaitForFirst();
    for (int i = 0; i < steps_; ++i) RunStep(i);
    CpAsyncWait<0>();
    WritePartials();
  }

 private:
  static constexpr int kChannelSteps = kHeadDim / 16;
  static constexpr int kWarpChannels = kHeadDim / kWarps;
  static constexpr int kGroups = kHeadDim / 64;
  using Sums = float[4];

  // ---- which pages

  LYNX_DEVICE int PackedRows() const { return sequence_.rows * group_; }
  LYNX_DEVICE int64_t PositionOf(int packed) const {
    return sequence_.first_position + packed / group_;
  }

  LYNX_DEVICE void FindSteps() {
    const int last = min(tile_.packed_begin + kTileRows, PackedRows()) - 1;
    seen_.begin = SeenFrom(PositionOf(tile_.packed_begin), p_.window).begin;
    seen_.end = PositionOf(last) + 1;
    upper_rows_ = last - tile_.packed_begin >= 8;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int packed = tile_.packed_begin + lane_ / 4 + 8 * half;
      if (packed <= last) row_seen_[half] = SeenFrom(PositionOf(packed), p_.window);
    }
    const int64_t split_begin = int64_t{item_.split} * kAttentionSplitPages;
    const int64_t split_end = split_begin + kAttentionSplitPages;
    const int64_t page_end = (seen_.end + kPageTokens - 1) / kPageTokens;
    first_page_ = max(split_begin, seen_.begin / kPageTokens);
    const int64_t pages = min(split_end, page_end) - first_page_;
    has_sinks_ = first_page_ == 0 && pages_[0].kind != KindOf(KvPageKind::kBf16) &&
                 seen_.begin < kSinkTokens;
    steps_ = static_cast<int>(pages) + has_sinks_;
    CutRing();
  }

  // Stages as large as the split's largest page.
  LYNX_DEVICE void CutRing() {
    constexpr int kRing = kRingPages * kBf16HeadBytes<kHeadDim>;
    stage_bytes_ = sizes_.anchor();
    for (int i = 0; i < steps_; ++i) {
      const Step step = StepAt(i);
      if (step == Step::kFull)
        stage_bytes_ = max(stage_bytes_, sizes_.anchor() + sizes_.residual());
      if (!IsCode(step)) stage_bytes_ = kBf16HeadBytes<kHeadDim>;
    }
    stages_ = min(kMaxStages, kRing / stage_bytes_);
  }

  LYNX_DEVICE int64_t PageAt(int i) const { return first_page_ + i - has_sinks_; }
  LYNX_DEVICE Step StepAt(int i) const {
    if (i >= steps_) return Step::kNone;
    if (i < has_sinks_) return Step::kSinks;
    const int32_t kind = pages_[PageAt(i)].kind;
    if (kind == KindOf(KvPageKind::kBf16)) return Step::kBf16;
    return kind == KindOf(KvPageKind::kFull) ? Step::kFull : Step::kAnchor;
  }
  // The first position of step i's tokens.
  LYNX_DEVICE int64_t OriginOf(int i) const { return i < has_sinks_ ? 0 : PageAt(i) * kPageTokens; }
  LYNX_DEVICE std::byte* Stage(int i) const { return shared_.ring + i % stages_ * stage_bytes_; }

  // ---- copies into the ring

  // Queues step i's copy as one group, an empty one behind the last step.
  LYNX_DEVICE void Copy(int i) {
    const Step step = StepAt(i);
    if (IsCode(step)) {
      CopyCode(i, step == Step::kFull);
    } else if (step != Step::kNone) {
      CopyBf16(i, step == Step::kSinks);
    }
    CpAsyncCommit();
  }

  LYNX_DEVICE void CopyCode(int i, bool full) {
    const PageRef& page = pages_[PageAt(i)];
    std::byte* stage = Stage(i);
    CopyBytes(stage, page.data + int64_t{head_} * sizes_.anchor(), sizes_.anchor());
    if (full && sizes_.residual() > 0) {
      CopyBytes(stage + sizes_.anchor(), page.residual + int64_t{head_} * sizes_.residual(),
                sizes_.residual());
    }
  }

  LYNX_DEVICE void CopyBf16(int i, bool sinks) {
    auto* rows = reinterpret_cast<uint4*>(Stage(i));
    const int64_t origin = OriginOf(i);
    const int limit = sinks ? kSinkTokens : kPageTokens;
    const int begin = static_cast<int>(max(seen_.begin - origin, int64_t{0}));
    const int end = static_cast<int>(min(seen_.end - origin, int64_t{limit}));
    for (int side = 0; side < 2; ++side) {
      const int64_t row = int64_t{side} * p_.shape.kv_heads + head_;
      uint4* to = rows + side * (kPageTokens * kHeadDim / 8);
      CopyRows<kHeadDim>(to, begin, end, pages_[0].data, [&](int token) {
        return sinks ? SinkRow(token, row) : PageRow(origin + token, row);
      });
    }
  }
  LYNX_DEVICE const std::byte* SinkRow(int token, int64_t row) const {
    const int64_t rows = int64_t{2} * p_.shape.kv_heads * token + row;
    return sequence_.sinks[p_.layer] + rows * kHeadDim * 2;
  }
  // `row` counts [K, V][kv_heads].
  LYNX_DEVICE const std::byte* PageRow(int64_t position, int64_t row) const {
    int64_t place = position;
    if (sequence_.slots != nullptr && position >= sequence_.slot_begin) {
      place = sequence_.slots[position - sequence_.slot_begin];
    }
    return pages_[place / kPageTokens].data +
           (row * kPageTokens + place % kPageTokens) * kHeadDim * 2;
  }

  // Waits for the step after the current one. Copies up to the current step + stages_ - 1 are
  // queued.
  LYNX_DEVICE void WaitForNext() {
    if (stages_ >= 5) {
      CpAsyncWait<3>();
    } else if (stages_ == 4) {
      CpAsyncWait<2>();
    } else if (stages_ == 3) {
      CpAsyncWait<1>();
    } else {
      CpAsyncWait<0>();
    }
  }
  // Makes step 0 ready.
  LYNX_DEVICE void WaitForFirst() {
    WaitForNext();
    __syncthreads();
    if (IsCode(StepAt(0))) {
      ReadScales(0);
      __syncthreads();
    }
  }

  // ---- the query

  // This thread's part of the query: one row, a pair of channels of every 16. A warp has rows
  // 2 w, 2 w + 1 and those + 8, whose words fill all banks.
  LYNX_DEVICE int QueryRow() const { return 2 * warp_ + lane_ / 8 % 2 + lane_ / 16 * 8; }
  LYNX_DEVICE int QueryHalf() const { return lane_ / 4 % 2; }
  LYNX_DEVICE int QueryPair() const { return lane_ % 4; }
  LYNX_DEVICE int QueryChannel(int step) const {
    return step * 16 + QueryHalf() * 8 + QueryPair() * 2;
  }
  LYNX_DEVICE int QueryWord(int step) const {
    return FragmentWord(step, QueryRow(), QueryHalf(), QueryPair());
  }

  LYNX_DEVICE void LoadQuery() {
    const int packed = tile_.packed_begin + QueryRow();
    const bool valid = packed < PackedRows();
    const int64_t row = sequence_.row_begin + packed / group_;
    const int64_t q_head = int64_t{head_} * group_ + packed % group_;
    const float* q = p_.q + row * p_.q_stride + q_head * kHeadDim;
#pragma unroll
    for (int s = 0; s < kChannelSteps; ++s) {
      const int c = QueryChannel(s);
      scaled_[s][0] = valid ? q[c] * p_.scale : 0.0f;
      scaled_[s][1] = valid ? q[c + 1] * p_.scale : 0.0f;
      shared_.query[QueryWord(s)] = RoundPair(scaled_[s][0], scaled_[s][1]);
    }
  }

  // The planes of step i's page.
  LYNX_DEVICE Planes PlanesOf(int i, bool value) const {
    const std::byte* stage = Stage(i);
    const std::byte* anchor = stage + (value ? sizes_.key_anchor : 0) + kHeadDim * 3;
    const std::byte* residual = stage + sizes_.anchor() + (value ? sizes_.key_residual : 0);
    return {anchor, residual, value ? p_.split.v_bits : p_.split.k_bits, StepAt(i) == Step::kFull};
  }

  LYNX_DEVICE float2* ValueScales(int i) const { return shared_.value_scales + i % 2 * kHeadDim; }

  // Step and offset of all channels of step i's page.
  LYNX_DEVICE void ReadScales(int i) {
    const bool full = StepAt(i) == Step::kFull;
    for (int at = static_cast<int>(threadIdx.x); at < 2 * kHeadDim; at += kThreads) {
      const bool value = at >= kHeadDim;
      const int channel = at % kHeadDim;
      const std::byte* part = Stage(i) + (value ? sizes_.key_anchor : 0);
      const bf16 lo = reinterpret_cast<const bf16*>(part)[channel];
      const int k = reinterpret_cast<const int8_t*>(part + kHeadDim * 2)[channel];
      const int bits = full ? kCodeBits : value ? p_.split.v_bits : p_.split.k_bits;
      const CodeScale scale = ScaleOf(ToFloat(lo), DeviceStepOf(k), bits);
      float2* to = value ? ValueScales(i) : shared_.key_scales;
      to[channel] = make_float2(scale.step, scale.offset);
    }
  }

  // The folded query and b of the current page.
  LYNX_DEVICE void FoldQuery(bool full) {
    float bias = 0.0f;
#pragma unroll
    for (int s = 0; s < kChannelSteps; ++s) {
      // Step and offset of two channels.
      const float4 scales = *reinterpret_cast<const float4*>(shared_.key_scales + QueryChannel(s));
      bias = Fma(scaled_[s][0], scales.y, bias);
      bias = Fma(scaled_[s][1], scales.w, bias);
      const SplitPair pair = SplitOf(scaled_[s][0] * scales.x, scaled_[s][1] * scales.z);
      shared_.folded[0][QueryWord(s)] = pair.high;
      if (full) shared_.folded[1][QueryWord(s)] = pair.low;
    }
    bias = QuadSum(bias);
    bias += __shfl_xor_sync(~0u, bias, 4);
    if (lane_ % 8 == 0) shared_.bias[QueryRow()] = bias;
  }

  // ---- a step

  // Step i: its page has arrived and, if it is code, its scales are there. Between two barriers
  // every array is either written or read.
  LYNX_DEVICE void RunStep(int i) {
    const Step step = StepAt(i);
    const bool next_is_code = IsCode(StepAt(i + 1));
    Copy(i + stages_ - 1);  // into the stage of step i - 1, which all warps have left
    if (IsCode(step)) {
      FoldQuery(step == Step::kFull);
      __syncthreads();
    }
    Sums scores[2] = {};
    if (IsCode(step)) {
      ScoreCode(i, step == Step::kFull, scores);
    } else {
      ScoreBf16(i, scores);
    }
    Mask(i, step, scores);
    __syncthreads();
    float alpha[2];
    Weigh(step == Step::kFull, scores, alpha);
    if (next_is_code) WaitForNext();
    __syncthreads();
    float sum[2];
    AddSums(alpha, sum);
    if (IsCode(step)) {
      GatherCode(i, step == Step::kFull, alpha, sum);
    } else {
      GatherBf16(i, alpha);
    }
    if (next_is_code) {
      ReadScales(i + 1);
    } else {
      WaitForNext();
    }
    __syncthreads();
  }

  // Scores of this warp's 16 tokens.
  LYNX_DEVICE void ScoreBf16(int i, Sums (&scores)[2]) {
    const auto* rows = reinterpret_cast<const uint4*>(Stage(i));
    const int chunk = KeyChunk<kHeadDim>(warp_ * 16, lane_);
#pragma unroll
    for (int s = 0; s < kChannelSteps; ++s) {
      uint32_t a[4], b[4];
      LoadFragment(a, shared_.query, s, lane_);
      LoadKeys(b, rows, chunk, s);
      MmaBf16(scores[0], a, b[0], b[1]);
      MmaBf16(scores[1], a, b[2], b[3]);
    }
  }

  LYNX_DEVICE void ScoreCode(int i, bool full, Sums (&scores)[2]) {
    const Planes planes = PlanesOf(i, /*value=*/false);
#pragma unroll 1
    for (int group = 0; group < kGroups; ++group) {
      uint32_t codes[kGroupPairs];
      UnpackGroup(planes, kHeadDim, {warp_, group, lane_}, codes);
#pragma unroll
      for (int s = 0; s < 4; ++s) {
        uint32_t a[4];
        LoadFragment(a, shared_.folded[0], group * 4 + s, lane_);
        MmaBf16(scores[0], a, codes[4 * s], codes[4 * s + 1]);
        MmaBf16(scores[1], a, codes[4 * s + 2], codes[4 * s + 3]);
        if (full) {
          LoadFragment(a, shared_.folded[1], group * 4 + s, lane_);
          MmaBf16(scores[0], a, codes[4 * s], codes[4 * s + 1]);
          MmaBf16(scores[1], a, codes[4 * s + 2], codes[4 * s + 3]);
        }
      }
    }
    const float low = shared_.bias[lane_ / 4], high = shared_.bias[lane_ / 4 + 8];
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      scores[n][0] += low;
      scores[n][1] += low;
      scores[n][2] += high;
      scores[n][3] += high;
    }
  }

  // Takes out what a row does not see and hands the rows' maxima to the other warps.
  LYNX_DEVICE void Mask(int i, Step step, Sums (&scores)[2]) {
    const int64_t origin = OriginOf(i);
    const bool behind_sinks = IsCode(step) && origin == 0;
    const int64_t limit = step == Step::kSinks ? kSinkTokens : origin + kPageTokens;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t first =
          behind_sinks ? max(row_seen_[half].begin, int64_t{kSinkTokens}) : row_seen_[half].begin;
      const int begin = static_cast<int>(max(first - origin, int64_t{0}));
      const int end = static_cast<int>(max(min(row_seen_[half].end, limit) - origin, int64_t{0}));
      float max_score = kNoScore;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int token = warp_ * 16 + e / 2 * 8 + lane_ % 4 * 2 + e % 2;
        float& score = scores[e / 2][half * 2 + e % 2];
        if (token < begin || token >= end) score = kNoScore;
        max_score = fmaxf(max_score, score);
      }
      max_score = QuadMax(max_score);
      if (lane_ % 4 == 0) shared_.max[warp_ * kTileRows + lane_ / 4 + 8 * half] = max_score;
    }
  }

  // Scores to weights: this warp's tokens are one step of the A operand of the output's product.
  LYNX_DEVICE void Weigh(bool full, const Sums (&scores)[2], float (&alpha)[2]) {
    uint32_t high[4] = {}, low[4] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane_ / 4 + 8 * half;
      float max_score = max_[half];
#pragma unroll
      for (int w = 0; w < kWarps; ++w) {
        max_score = fmaxf(max_score, shared_.max[w * kTileRows + row]);
      }
      const float base = max_score == kNoScore ? 0.0f : max_score;
      alpha[half] = max_[half] == kNoScore ? 0.0f : ExpOfNegative(max_[half] - base);
      max_[half] = max_score;
      float sum = 0.0f;
      if (half == 0 || upper_rows_) {
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          const SplitPair pair = SplitOf(ExpOfNegative(scores[n][2 * half] - base),
                                         ExpOfNegative(scores[n][2 * half + 1] - base));
          high[half + 2 * n] = pair.high;
          sum += FirstOf(pair.high) + SecondOf(pair.high);
          if (full) {
            low[half + 2 * n] = pair.low;
            sum += FirstOf(pair.low) + SecondOf(pair.low);
          }
        }
      }
      sum = QuadSum(sum);
      if (lane_ % 4 == 0) shared_.sum[warp_ * kTileRows + row] = sum;
    }
    const int at = (warp_ * kWarpLanes + lane_) * 4;
    *reinterpret_cast<uint4*>(shared_.weights[0] + at) =
        make_uint4(high[0], high[1], high[2], high[3]);
    if (full) {
      *reinterpret_cast<uint4*>(shared_.weights[1] + at) =
          make_uint4(low[0], low[1], low[2], low[3]);
    }
  }

  // The page's sums of weights, of this lane's two rows.
  LYNX_DEVICE void AddSums(const float (&alpha)[2], float (&sum)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float* sums = shared_.sum + lane_ / 4 + 8 * half;
      sum[half] = (sums[0] + sums[kTileRows]) + (sums[2 * kTileRows] + sums[3 * kTileRows]);
      sum_[half] = Fma(sum_[half], alpha[half], sum[half]);
    }
  }

  LYNX_DEVICE void GatherBf16(int i, const float (&alpha)[2]) {
    const auto* rows = reinterpret_cast<const uint4*>(Stage(i)) + kPageTokens * kHeadDim / 8;
    const int chunk = ValueChunk<kHeadDim>(0, lane_);
    uint32_t a[kTokenSteps][4];
#pragma unroll
    for (int s = 0; s < kTokenSteps; ++s) LoadFragment(a[s], shared_.weights[0], s, lane_);
#pragma unroll
    for (int n = 0; n < kWarpChannels / 8; n += 2) {
      Sums out[2] = {};
#pragma unroll
      for (int s = 0; s < kTokenSteps; ++s) {
        uint32_t b[4];
        LoadValues(b, rows + s * 16 * (kHeadDim / 8), chunk, warp_ * kWarpChannels + n * 8);
        MmaBf16(out[0], a[s], b[0], b[1]);
        MmaBf16(out[1], a[s], b[2], b[3]);
      }
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        float& total = out_[n + e / 4][e % 4];
        total = Fma(total, alpha[e % 4 / 2], out[e / 4][e % 4]);
      }
    }
  }

  LYNX_DEVICE void GatherCode(int i, bool full, const float (&alpha)[2], const float (&sum)[2]) {
    const Planes planes = PlanesOf(i, /*value=*/true);
    const float2* scales = ValueScales(i);
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      uint32_t codes[kGroupPairs];
      UnpackGroup(planes, kHeadDim, {warp_, group, lane_}, codes);
      Sums out[2] = {};
#pragma unroll
      for (int s = 0; s < kTokenSteps; ++s) {
        uint32_t a[4];
        LoadFragment(a, shared_.weights[0], s, lane_);
        MmaBf16(out[0], a, codes[2 * s], codes[2 * s + 1]);
        MmaBf16(out[1], a, codes[8 + 2 * s], codes[8 + 2 * s + 1]);
        if (full) {
          LoadFragment(a, shared_.weights[1], s, lane_);
          MmaBf16(out[0], a, codes[2 * s], codes[2 * s + 1]);
          MmaBf16(out[1], a, codes[8 + 2 * s], codes[8 + 2 * s + 1]);
        }
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const int channel = warp_ * kWarpChannels + (group * 2 + n) * 8 + lane_ % 4 * 2;
        // Step and offset of two channels.
        const float4 pair = *reinterpret_cast<const float4*>(scales + channel);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const float step = e % 2 == 0 ? pair.x : pair.z;
          const float offset = e % 2 == 0 ? pair.y : pair.w;
          const float value = Fma(step, out[n][e], offset * sum[e / 2]);
          float& total = out_[group * 2 + n][e];
          total = Fma(total, alpha[e / 2], value);
        }
      }
    }
  }

  // ---- the result

  LYNX_DEVICE void WritePartials() {
    const int64_t base = (int64_t{blockIdx.x} * p_.shape.kv_heads + head_) * kTileRows;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane_ / 4 + 8 * half;
      if (tile_.packed_begin + row >= PackedRows()) continue;
      float* to = p_.partials + (base + row) * (kHeadDim + 2);
#pragma unroll
      for (int n = 0; n < kWarpChannels / 8; ++n) {
        const int channel = warp_ * kWarpChannels + n * 8 + lane_ % 4 * 2;
        *reinterpret_cast<float2*>(to + channel) =
            make_float2(out_[n][2 * half], out_[n][2 * half + 1]);
      }
      if (warp_ == 0 && lane_ % 4 == 0) {
        *reinterpret_cast<float2*>(to + kHeadDim) = make_float2(max_[half], sum_[half]);
      }
    }
  }

  const AttentionParams& p_;
  Shared<kHeadDim> shared_;
  const AttentionItem item_;
  const AttentionTile tile_;
  const AttentionSequence sequence_;
  const int head_, group_, warp_, lane_;
  const PageRef* const pages_;
  const CodeSizes sizes_;

  Seen seen_;                // by any row of the tile
  Seen row_seen_[2];         // by this lane's rows
  bool upper_rows_ = false;  // whether the tile has rows 8 and up
  int64_t first_page_ = 0;
  int has_sinks_ = 0, steps_ = 0;
  int stage_bytes_ = 0, stages_ = 0;

  float scaled_[kChannelSteps][2];  // f(q * scale)
  float max_[2] = {kNoScore, kNoScore};
  float sum_[2] = {};
  Sums out_[kWarpChannels / 8] = {};
};

template <int kHeadDim>
__global__ void __launch_bounds__(kThreads) AttentionSplitKernel(const AttentionParams p) {
  if (p.items[blockIdx.x].tile < 0) return;
  SplitBlock<kHeadDim>(p, SmemAlloc()).Run();
}

// A warp merges a row's partial results, in the order of their positions.
template <int kHeadDim>
__global__ void __launch_bounds__(kThreads) AttentionMergeKernel(const AttentionParams p) {
  constexpr int kLaneChannels = kHeadDim / kWarpLanes;
  const AttentionTile tile = p.tiles[blockIdx.x];
  const AttentionSequence& sequence = p.sequences[tile.sequence];
  const int head = static_cast<int>(blockIdx.y), group = p.q_heads / p.shape.kv_heads;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int rows = min(kTileRows, sequence.rows * group - tile.packed_begin);
  for (int row = static_cast<int>(threadIdx.x) / kWarpLanes; row < rows; row += kWarps) {
    const auto partial = [&](int i) {
      const int64_t block = int64_t{tile.first_item + i} * p.shape.kv_heads + head;
      return p.partials + (block * kTileRows + row) * (kHeadDim + 2);
    };
    float max_score = kNoScore;
    for (int i = lane; i < tile.items; i += kWarpLanes) {
      max_score = fmaxf(max_score, partial(i)[kHeadDim]);
    }
    for (int distance = kWarpLanes / 2; distance > 0; distance /= 2) {
      max_score = fmaxf(max_score, __shfl_xor_sync(~0u, max_score, distance));
    }
    float sum = 0.0f, out[kLaneChannels] = {};
#pragma unroll 4
    for (int i = 0; i < tile.items; ++i) {
      const float* from = partial(i);
      const float weight =
          from[kHeadDim] == kNoScore ? 0.0f : ExpOfNegative(from[kHeadDim] - max_score);
      sum = Fma(from[kHeadDim + 1], weight, sum);
#pragma unroll
      for (int c = 0; c < kLaneChannels; ++c) {
        out[c] = Fma(from[c * kWarpLanes + lane], weight, out[c]);
      }
    }
    const int packed = tile.packed_begin + row;
    const int64_t q_head = int64_t{head} * group + packed % group;
    bf16* to = p.out + (sequence.row_begin + packed / group) * p.out_stride + q_head * kHeadDim;
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      // The sign of a zero would tell of tokens that the row does not see.
      to[c * kWarpLanes + lane] = ToBf16(out[c] / sum + 0.0f);
    }
  }
}

template <int kHeadDim>
cudaError_t LaunchAttention(const AttentionParams& p, cudaStream_t stream) {
  const auto heads = static_cast<unsigned>(p.shape.kv_heads);
  const cudaError_t error = Launch("AttentionSplit", AttentionSplitKernel<kHeadDim>,
                                   dim3(static_cast<unsigned>(p.item_count), heads), dim3(kThreads),
                                   Shared<kHeadDim>::Bytes(), stream, p);
  if (error != cudaSuccess) return error;
  return Launch("AttentionMerge", AttentionMergeKernel<kHeadDim>,
                dim3(static_cast<unsigned>(p.tile_count), heads), dim3(kThreads), 0, stream, p);
}

bool IsSupported(const AttentionParams& p) {
  return IsCodeShape(p.shape, p.split) && p.q_heads > 0 && p.q_heads % p.shape.kv_heads == 0;
}

}  // namespace

cudaError_t Attention(const AttentionParams& params, cudaStream_t stream) {
  if (!IsSupported(params)) return cudaErrorInvalidValue;
  if (params.item_count == 0) return cudaSuccess;
  switch (params.shape.head_dim) {
    case 64:
      return LaunchAttention<64>(params, stream);
    case 128:
      return LaunchAttention<128>(params, stream);
    default:
      return LaunchAttention<256>(params, stream);
  }
}

}  // namespace lynx::cuda
