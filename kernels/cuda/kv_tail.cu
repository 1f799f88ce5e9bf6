#include "kernels/cuda/code_steps.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kv_layout_inl.h"
#include "kernels/cuda/kv_tail.h"

namespace lynx::cuda {
namespace {

// A block works on one page, a chunk of groups at a time. A thread has a unit of consecutive tokens
// of a group; units follow one another as the Tail does, so their places are prefix sums.
constexpr int kTailThreads = 512;
constexpr int kUnitTokens = 16;
constexpr int kUnits = kPageTokens / kUnitTokens;  // of a group
constexpr int kChunkGroups = kTailThreads / kUnits;
constexpr int kMaxTailBits = 16;
constexpr int kUnitWords = kUnitTokens * kMaxTailBits / kWordBits;
constexpr int kWarpCount = kTailThreads / kWarpLanes;

// A unit and its group's place in the page.
struct Unit {
  KvSide side;
  int head, channel;
  int begin, end;  // tokens
};
LYNX_DEVICE Unit UnitAt(KvShape shape, int chunk, int first_token) {
  const int thread = static_cast<int>(threadIdx.x);
  const int group = chunk * kChunkGroups + thread / kUnits;
  const int row = group / shape.head_dim;
  const int begin = thread % kUnits * kUnitTokens;
  return {row % 2 == 0 ? KvSide::kKey : KvSide::kValue, row / 2, group % shape.head_dim,
          max(begin, first_token), begin + kUnitTokens};
}
// head_dim is a multiple of 64, so that groups fill chunks.
LYNX_DEVICE int ChunkCount(KvShape shape) {
  return 2 * shape.kv_heads * shape.head_dim / kChunkGroups;
}
static_assert(64 * 2 % kChunkGroups == 0);

// The sum of the threads' values before this one, and of all. `warps` has kWarpCount numbers.
struct Prefix {
  uint32_t before, total;
};
LYNX_DEVICE Prefix PrefixSum(uint32_t value, uint32_t* warps) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  uint32_t sum = value;
#pragma unroll
  for (int distance = 1; distance < kWarpLanes; distance *= 2) {
    const uint32_t other = __shfl_up_sync(~0u, sum, distance);
    if (lane >= distance) sum += other;
  }
  __syncthreads();  // the numbers of the call before have been read
  if (lane == kWarpLanes - 1) warps[warp] = sum;
  __syncthreads();
  Prefix prefix{sum - value, 0};
  for (int w = 0; w < kWarpCount; ++w) {
    if (w < warp) prefix.before += warps[w];
    prefix.total += warps[w];
  }
  return prefix;
}

// ---- encoding

class TailWriter {
 public:
  LYNX_DEVICE TailWriter(const TailEncodeParams& p, SmemAlloc alloc)
      : p_(p), job_(p.jobs[blockIdx.x]) {
    runs_ = alloc.Take<uint32_t>(kTailThreads * kRunStride);
    out_ = alloc.Take<uint32_t>(kOutWords);
    warps_ = alloc.Take<uint32_t>(kWarpCount);
  }
  static constexpr size_t SharedBytes() {
    return kTailThreads * kRunStride * 4 + (kOutWords * 4 + 127) / 128 * 128 + kWarpCount * 4;
  }

  LYNX_DEVICE void Run() {
    uint32_t bits = 0;  // written so far
    if (threadIdx.x == 0) out_[0] = 0;
    for (int chunk = 0; chunk < ChunkCount(p_.shape); ++chunk) bits += AddChunk(chunk, bits);
    if (threadIdx.x == 0) {
      if (bits % kWordBits != 0) Tail()[bits / kWordBits] = out_[0];
      p_.bytes[blockIdx.x] = (bits + 7) / 8;
    }
  }

 private:
  static constexpr int kRunStride = kUnitWords + 1;  // in different banks
  static constexpr int kOutWords = kTailThreads * kUnitWords + 1;

  LYNX_DEVICE uint32_t* Tail() const { return reinterpret_cast<uint32_t*>(job_.tail); }

  // Appends a chunk to the `bits` bits before it, whose last, unfinished word is out_[0]. Returns
  // its bits.
  LYNX_DEVICE uint32_t AddChunk(int chunk, uint32_t bits) {
    const uint32_t own = EncodeUnit(UnitAt(p_.shape, chunk, job_.first_token));
    const Prefix prefix = PrefixSum(own, warps_);
    const uint32_t open = bits % kWordBits;
    const uint32_t words = (open + prefix.total) / kWordBits;  // that are now finished
    for (uint32_t i = threadIdx.x + 1; i <= words; i += kTailThreads) out_[i] = 0;
    __syncthreads();
    AppendRun(open + prefix.before, own);
    __syncthreads();
    uint32_t* to = Tail() + bits / kWordBits;
    for (uint32_t i = threadIdx.x; i < words; i += kTailThreads) to[i] = out_[i];
    __syncthreads();
    if (threadIdx.x == 0) out_[0] = out_[words];
    return prefix.total;
  }

  // A unit's ranks as a run of bits of its own. Returns how many.
  LYNX_DEVICE uint32_t EncodeUnit(const Unit& unit) {
    const CodePart part =
        FindCodePart(p_.shape, p_.split, unit.head, unit.side, job_.anchor, nullptr);
    const bf16 lo = reinterpret_cast<const bf16*>(part.lo)[unit.channel];
    const float step = DeviceStepOf(reinterpret_cast<const int8_t*>(part.k)[unit.channel]);
    const auto* page = reinterpret_cast<const bf16*>(job_.page);
    uint32_t* run = runs_ + threadIdx.x * kRunStride;
    uint64_t pending = 0;
    uint32_t bits = 0;
    for (int t = unit.begin; t < unit.end; ++t) {
      const bf16 x = page[Bf16Index(p_.shape, unit.side, unit.head, t, unit.channel)];
      const TailInterval interval =
          TailIntervalOf(Quantize(ToFloat(x), ToFloat(lo), step), lo, step);
      const auto rank = static_cast<uint32_t>(ToOrdered(x) - interval.first);
      const uint32_t before = bits % kWordBits;
      const auto width = static_cast<uint32_t>(TailBits(interval.count));
      pending |= static_cast<uint64_t>(rank) << before;
      bits += width;
      if (before + width >= kWordBits) {
        run[bits / kWordBits - 1] = static_cast<uint32_t>(pending);
        pending >>= kWordBits;
      }
    }
    if (bits % kWordBits != 0) run[bits / kWordBits] = static_cast<uint32_t>(pending);
    return bits;
  }

  // ORs this thread's run of `bits` bits to bit `at` of out_.
  LYNX_DEVICE void AppendRun(uint32_t at, uint32_t bits) {
    const uint32_t* run = runs_ + threadIdx.x * kRunStride;
    const uint32_t shift = at % kWordBits;
    for (uint32_t i = 0; i * kWordBits < bits; ++i) {
      const uint64_t word = static_cast<uint64_t>(run[i]) << shift;
      const uint32_t low = static_cast<uint32_t>(word), high = static_cast<uint32_t>(word >> 32);
      if (low != 0) atomicOr(out_ + at / kWordBits + i, low);
      if (high != 0) atomicOr(out_ + at / kWordBits + i + 1, high);
    }
  }

  const TailEncodeParams& p_;
  const TailEncodeJob job_;
  uint32_t* runs_;   // [kTailThreads, kRunStride]
  uint32_t* out_;    // [kOutWords]: the chunk's bits behind the unfinished word before it
  uint32_t* warps_;  // [kWarpCount]
};

// ---- decoding

class TailReader {
 public:
  LYNX_DEVICE TailReader(const TailDecodeParams& p, SmemAlloc alloc)
      : p_(p),
        job_(p.jobs[blockIdx.x]),
        aligned_(reinterpret_cast<uintptr_t>(job_.tail) % sizeof(uint32_t) == 0) {
    intervals_ = alloc.Take<uint32_t>(kTailThreads * kIntervalStride);
    warps_ = alloc.Take<uint32_t>(kWarpCount);
    bad_ = alloc.Take<int>(1);
  }
  static constexpr size_t SharedBytes() {
    return kTailThreads * kIntervalStride * 4 + (kWarpCount * 4 + 127) / 128 * 128 + 4;
  }

  LYNX_DEVICE void Run() {
    if (threadIdx.x == 0) *bad_ = 0;
    __syncthreads();
    uint32_t bits = 0;
    for (int chunk = 0; chunk < ChunkCount(p_.shape); ++chunk) {
      const Unit unit = UnitAt(p_.shape, chunk, job_.first_token);
      const Prefix prefix = PrefixSum(FindIntervals(unit), warps_);
      DecodeUnit(unit, bits + prefix.before);
      bits += prefix.total;
    }
    __syncthreads();
    if (threadIdx.x == 0) p_.bad[blockIdx.x] = *bad_ != 0 || !EndsAt(bits) ? 1 : 0;
  }

 private:
  static constexpr int kIntervalStride = kUnitTokens + 1;  // in different banks

  // A code's bits in one plane.
  LYNX_DEVICE int ReadPlane(const std::byte* plane, int bits, const Unit& unit, int token) const {
    unsigned code = 0;
#pragma unroll
    for (int width = 8; width > 0; width /= 2) {
      if ((bits & width) == 0) continue;
      const int bit = CodeBit(p_.shape.head_dim, unit.side, width, token, unit.channel);
      const auto byte = static_cast<unsigned>(plane[bit / 8]);
      code = code << width | (byte >> bit % 8 & ((1u << width) - 1));
      plane += CodePlaneBytes(p_.shape.head_dim, width);
    }
    return static_cast<int>(code);
  }

  LYNX_DEVICE int ReadCode(const CodePart& part, const Unit& unit, int token) const {
    const int rest = kCodeBits - part.anchor_bits;
    const int code = ReadPlane(part.anchor, part.anchor_bits, unit, token);
    return rest == 0 ? code : code << rest | ReadPlane(part.residual, rest, unit, token);
  }

  // Finds the intervals of a unit's values: first number << 16 | count. Returns the bits of their
  // ranks.
  LYNX_DEVICE uint32_t FindIntervals(const Unit& unit) {
    const CodePart part =
        FindCodePart(p_.shape, p_.split, unit.head, unit.side, job_.anchor, job_.residual);
    bf16 lo = reinterpret_cast<const bf16*>(part.lo)[unit.channel];
    if (!IsFinite(lo)) {
      atomicOr(bad_, 1);
      lo = {};
    }
    const float step = DeviceStepOf(reinterpret_cast<const int8_t*>(part.k)[unit.channel]);
    uint32_t bits = 0;
    for (int t = unit.begin; t < unit.end; ++t) {
      const TailInterval interval = TailIntervalOf(ReadCode(part, unit, t), lo, step);
      IntervalOf(t) =
          static_cast<uint32_t>(interval.first) << 16 | static_cast<uint32_t>(interval.count);
      bits += static_cast<uint32_t>(TailBits(interval.count));
    }
    return bits;
  }
  LYNX_DEVICE uint32_t& IntervalOf(int token) const {
    return intervals_[threadIdx.x * kIntervalStride + token % kUnitTokens];
  }

  // Word `index` of the Tail; bytes behind its end are zeros.
  LYNX_DEVICE uint32_t WordAt(uint32_t index) const {
    const uint32_t begin = index * 4;
    if (aligned_ && begin + 4 <= job_.tail_bytes) {
      return reinterpret_cast<const uint32_t*>(job_.tail)[index];
    }
    uint32_t word = 0;
    for (uint32_t i = begin; i < min(begin + 4, job_.tail_bytes); ++i) {
      word |= static_cast<uint32_t>(job_.tail[i]) << (i - begin) * 8;
    }
    return word;
  }

  // Reads a unit's ranks from bit `at` on and writes its values.
  LYNX_DEVICE void DecodeUnit(const Unit& unit, uint32_t at) {
    auto* page = reinterpret_cast<bf16*>(job_.page);
    for (int t = unit.begin; t < unit.end; ++t) {
      const uint32_t interval = IntervalOf(t), count = interval & 0xffffu;
      const auto width = static_cast<uint32_t>(TailBits(static_cast<int>(count)));
      const uint32_t word = at / kWordBits;
      const uint64_t words = WordAt(word) | static_cast<uint64_t>(WordAt(word + 1)) << 32;
      const auto rank = static_cast<uint32_t>(words >> at % kWordBits) & ((1u << width) - 1);
      at += width;
      if (rank >= count) atomicOr(bad_, 1);
      page[Bf16Index(p_.shape, unit.side, unit.head, t, unit.channel)] =
          FromOrdered(static_cast<uint16_t>((interval >> 16) + rank));
    }
  }

  // Whether the Tail has `bits` bits and is filled up with zeros.
  LYNX_DEVICE bool EndsAt(uint32_t bits) const {
    return (bits + 7) / 8 == job_.tail_bytes && WordAt(bits / kWordBits) >> bits % kWordBits == 0;
  }

  const TailDecodeParams& p_;
  const TailDecodeJob job_;
  const bool aligned_;
  uint32_t* intervals_;  // [kTailThreads, kIntervalStride]
  uint32_t* warps_;      // [kWarpCount]
  int* bad_;
};

__global__ void __launch_bounds__(kTailThreads) TailEncodeKernel(const TailEncodeParams p) {
  TailWriter(p, SmemAlloc()).Run();
}
__global__ void __launch_bounds__(kTailThreads) TailDecodeKernel(const TailDecodeParams p) {
  TailReader(p, SmemAlloc()).Run();
}

}  // namespace

cudaError_t TailEncode(const TailEncodeParams& params, cudaStream_t stream) {
  if (!IsCodeShape(params.shape, params.split)) return cudaErrorInvalidValue;
  if (params.count == 0) return cudaSuccess;
  return Launch("TailEncode", TailEncodeKernel, dim3(static_cast<unsigned>(params.count)),
                dim3(kTailThreads), TailWriter::SharedBytes(), stream, params);
}

cudaError_t TailDecode(const TailDecodeParams& params, cudaStream_t stream) {
  if (!IsCodeShape(params.shape, params.split)) return cudaErrorInvalidValue;
  if (params.count == 0) return cudaSuccess;
  return Launch("TailDecode", TailDecodeKernel, dim3(static_cast<unsigned>(params.count)),
                dim3(kTailThreads), TailReader::SharedBytes(), stream, params);
}

}  // namespace lynx::cuda
