#include "kernels/cuda/code_steps.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kv_layout_inl.h"
#include "kernels/cuda/kv_split.h"
#include "kernels/cuda/ptx.cuh"

namespace lynx::cuda {
namespace {

constexpr int kSplitThreads = 256;

// One side of one KV head of a page. A group belongs to kParts threads, each with its own tokens.
template <int kHeadDim>
class SideSplitter {
 public:
  LYNX_DEVICE SideSplitter(const SplitPagesParams& p, SmemAlloc alloc)
      : p_(p),
        job_(p.jobs[blockIdx.x]),
        head_(static_cast<int>(blockIdx.y) / 2),
        side_(blockIdx.y % 2 == 0 ? KvSide::kKey : KvSide::kValue),
        part_(FindCodePart(p.shape, p.split, head_, side_, job_.anchor, job_.residual)),
        thread_(static_cast<int>(threadIdx.x)),
        channel_(thread_ % kHeadDim) {
    numbers_ = alloc.Take<bf16>(kPageTokens * kHeadDim);
    codes_ = alloc.Take<uint8_t>(kPageTokens * kCodeStride);
    least_ = alloc.Take<uint16_t>(kSplitThreads);
    most_ = alloc.Take<uint16_t>(kSplitThreads);
  }
  static constexpr size_t SharedBytes() {
    return kPageTokens * kHeadDim * 2 + kPageTokens * kCodeStride + 2 * kSplitThreads * 2;
  }

  LYNX_DEVICE void Run() {
    ReadPage();
    FindRange();
    __syncthreads();
    Quantize();
    __syncthreads();
    const int rest = kCodeBits - part_.anchor_bits;
    WritePlane(part_.anchor, part_.anchor_bits, rest);
    if (rest > 0 && part_.residual != nullptr) WritePlane(part_.residual, rest, 0);
  }

 private:
  static constexpr int kParts = kSplitThreads / kHeadDim;
  static constexpr int kPartTokens = kPageTokens / kParts;
  static constexpr int kCodeStride = kHeadDim + 4;  // the tokens of a fragment in different banks

  // FindCodePart's pointers are to what the job may write.
  LYNX_DEVICE static std::byte* Writable(const std::byte* p) { return const_cast<std::byte*>(p); }

  LYNX_DEVICE int FirstToken() const {
    return max(thread_ / kHeadDim * kPartTokens, job_.first_token);
  }
  LYNX_DEVICE int EndToken() const { return (thread_ / kHeadDim + 1) * kPartTokens; }

  LYNX_DEVICE void ReadPage() {
    const auto* page = reinterpret_cast<const bf16*>(job_.page);
    const bf16* from = page + Bf16Index(p_.shape, side_, head_, 0, 0);
    for (int i = thread_ * 8; i < kPageTokens * kHeadDim; i += kSplitThreads * 8) {
      CpAsync16(numbers_ + i, from + i);
    }
    CpAsyncCommit();
    CpAsyncWait<0>();
    __syncthreads();
  }

  LYNX_DEVICE void FindRange() {
    int least = 0xffff, most = 0;
    for (int t = FirstToken(); t < EndToken(); ++t) {
      const int ordered = ToOrdered(numbers_[t * kHeadDim + channel_]);
      least = min(least, ordered);
      most = max(most, ordered);
    }
    least_[thread_] = static_cast<uint16_t>(least);
    most_[thread_] = static_cast<uint16_t>(most);
  }

  LYNX_DEVICE void Quantize() {
    int least = 0xffff, most = 0;
    for (int part = 0; part < kParts; ++part) {
      least = min(least, static_cast<int>(least_[part * kHeadDim + channel_]));
      most = max(most, static_cast<int>(most_[part * kHeadDim + channel_]));
    }
    const bf16 lo = FromOrdered(static_cast<uint16_t>(least));
    const float low = ToFloat(lo);
    const int k = DeviceGroupStepCode(low, ToFloat(FromOrdered(static_cast<uint16_t>(most))));
    if (thread_ < kHeadDim) {
      // Infinities and NaNs lie outside the finite numbers in this order.
      const bool coded = least >= kOrderedMin && most <= kOrderedMax && k <= kMaxStep;
      if (!coded) atomicOr(p_.raw + blockIdx.x, 1);
      reinterpret_cast<bf16*>(Writable(part_.lo))[channel_] = lo;
      reinterpret_cast<int8_t*>(Writable(part_.k))[channel_] = static_cast<int8_t>(k);
    }
    const float step = DeviceStepOf(min(k, kMaxStep));
    const int begin = thread_ / kHeadDim * kPartTokens;
    for (int t = begin; t < EndToken(); ++t) {
      const float x = ToFloat(numbers_[t * kHeadDim + channel_]);
      const int code = t < job_.first_token ? 0 : lynx::Quantize(x, low, step);
      codes_[t * kCodeStride + channel_] = static_cast<uint8_t>(code);
    }
  }

  // Bits [place, place + bits) of all codes.
  LYNX_DEVICE void WritePlane(const std::byte* plane, int bits, int place) {
    auto* to = reinterpret_cast<uint32_t*>(Writable(plane));
    WriteSubPlane<8>(to, bits, place);
    WriteSubPlane<4>(to, bits, place);
    WriteSubPlane<2>(to, bits, place);
    WriteSubPlane<1>(to, bits, place);
  }

  // The sub-plane of kWidth bits, if the plane has one; moves `to` behind it.
  template <int kWidth>
  LYNX_DEVICE void WriteSubPlane(uint32_t*& to, int bits, int place) {
    if ((bits & kWidth) == 0) return;
    const int shift = place + (bits & (kWidth - 1));
    constexpr int kWords = kPageTokens * kHeadDim * kWidth / kWordBits;
    for (int i = thread_; i < kWords; i += kSplitThreads) to[i] = WordOf<kWidth>(i, shift);
    to += kWords;
  }

  template <int kWidth>
  LYNX_DEVICE uint32_t WordOf(int index, int shift) const {
    CodePlace at = PlaceOfWord(kHeadDim, kWidth, index);
    uint32_t word = 0;
#pragma unroll
    for (int pair = 0; pair < kGroupPairs / kWidth; ++pair, ++at.pair) {
#pragma unroll
      for (int member = 0; member < 2; ++member) {
        at.member = member;
        const CodeElement e = ElementOf(kHeadDim, side_, at);
        const uint32_t code = codes_[e.token * kCodeStride + e.channel];
        word |= (code >> shift & ((1u << kWidth) - 1)) << (member * 16 + pair * kWidth);
      }
    }
    return word;
  }

  const SplitPagesParams& p_;
  const SplitPageJob job_;
  const int head_;
  const KvSide side_;
  const CodePart part_;
  const int thread_, channel_;
  bf16* numbers_;            // [64 tokens][head_dim]
  uint8_t* codes_;           // [64 tokens][kCodeStride]
  uint16_t *least_, *most_;  // [kParts][head_dim], ordered
};

template <int kHeadDim>
__global__ void __launch_bounds__(kSplitThreads) SplitPagesKernel(const SplitPagesParams p) {
  SideSplitter<kHeadDim>(p, SmemAlloc()).Run();
}

// A kernel, because the flags may be host memory.
__global__ void __launch_bounds__(kSplitThreads) ClearFlagsKernel(const SplitPagesParams p) {
  const int64_t i = int64_t{blockIdx.x} * kSplitThreads + threadIdx.x;
  if (i < p.count) p.raw[i] = 0;
}

template <int kHeadDim>
cudaError_t LaunchSplit(const SplitPagesParams& p, cudaStream_t stream) {
  return Launch("SplitPages", SplitPagesKernel<kHeadDim>,
                dim3(static_cast<unsigned>(p.count), static_cast<unsigned>(2 * p.shape.kv_heads)),
                dim3(kSplitThreads), SideSplitter<kHeadDim>::SharedBytes(), stream, p);
}

}  // namespace

cudaError_t SplitPages(const SplitPagesParams& params, cudaStream_t stream) {
  if (!IsCodeShape(params.shape, params.split)) return cudaErrorInvalidValue;
  if (params.count == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>((params.count + kSplitThreads - 1) / kSplitThreads);
  const cudaError_t error =
      Launch("ClearFlags", ClearFlagsKernel, dim3(blocks), dim3(kSplitThreads), 0, stream, params);
  if (error != cudaSuccess) return error;
  switch (params.shape.head_dim) {
    case 64:
      return LaunchSplit<64>(params, stream);
    case 128:
      return LaunchSplit<128>(params, stream);
    default:
      return LaunchSplit<256>(params, stream);
  }
}

}  // namespace lynx::cuda
