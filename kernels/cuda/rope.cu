#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kv_layout_inl.h"
#include "kernels/cuda/rope.h"
#include "kernels/linear_inl.h"

namespace lynx::cuda {
namespace {

// A thread takes the pair of channels (i, i + head_dim / 2) of a head of Q, K or V.
constexpr int kThreads = 256;

struct Pair {
  float first, second;
};

LYNX_DEVICE Pair Rotated(Pair x, const float* cos_sin, int channel, int half) {
  RotatePair(x.first, x.second, cos_sin[channel], cos_sin[half + channel]);
  return x;
}

LYNX_DEVICE void StoreKv(const RopeWriteKvParams& p, int64_t row, KvSide side, int head,
                         int channel, Pair x) {
  const KvShape shape{static_cast<int>(p.kv_heads), static_cast<int>(p.head_dim)};
  const RowPlace place = p.places[row];
  auto* page = reinterpret_cast<bf16*>(
      const_cast<std::byte*>(place.page[p.layer * place.layer_stride].data));
  const int token = place.token_in_page;
  page[Bf16Index(shape, side, head, token, channel)] = ToBf16(x.first);
  page[Bf16Index(shape, side, head, token, channel + shape.head_dim / 2)] = ToBf16(x.second);
}

LYNX_DEVICE void RopeRow(const RopeWriteKvParams& p, int64_t row, int head, int channel) {
  const int half = static_cast<int>(p.head_dim) / 2;
  const int q_heads = static_cast<int>(p.q_heads), kv_heads = static_cast<int>(p.kv_heads);
  const float* in = p.qkv + (row * (q_heads + 2 * kv_heads) + head) * p.head_dim + channel;
  const float* cos_sin = p.cos_sin + row * p.head_dim;
  const Pair x{in[0], in[half]};
  if (head < q_heads) {
    const Pair rotated = Rotated(x, cos_sin, channel, half);
    float* q = p.q + row * p.q_stride + head * p.head_dim + channel;
    q[0] = rotated.first;
    q[half] = rotated.second;
  } else if (head < q_heads + kv_heads) {
    StoreKv(p, row, KvSide::kKey, head - q_heads, channel, Rotated(x, cos_sin, channel, half));
  } else {
    StoreKv(p, row, KvSide::kValue, head - q_heads - kv_heads, channel, x);
  }
}

__global__ void __launch_bounds__(kThreads) RopeWriteKvKernel(const RopeWriteKvParams p) {
  const int half = static_cast<int>(p.head_dim) / 2;
  const int pair = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const int head = pair / half;
  if (head >= p.q_heads + 2 * p.kv_heads) return;
  for (int64_t row = blockIdx.y; row < p.rows; row += gridDim.y) {
    RopeRow(p, row, head, pair % half);
  }
}

}  // namespace

cudaError_t RopeWriteKv(const RopeWriteKvParams& params, cudaStream_t stream) {
  if (params.head_dim <= 0 || params.head_dim % 2 != 0) return cudaErrorInvalidValue;
  if (params.q_stride < params.q_heads * params.head_dim) return cudaErrorInvalidValue;
  if (params.rows == 0) return cudaSuccess;
  const int64_t pairs = (params.q_heads + 2 * params.kv_heads) * (params.head_dim / 2);
  const auto blocks = static_cast<unsigned>((pairs + kThreads - 1) / kThreads);
  const auto rows = static_cast<unsigned>(params.rows < 65535 ? params.rows : 65535);
  return Launch("RopeWriteKv", RopeWriteKvKernel, dim3(blocks, rows), dim3(kThreads), 0, stream,
                params);
}

}  // namespace lynx::cuda
