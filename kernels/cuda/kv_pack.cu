#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kv_layout_inl.h"
#include "kernels/cuda/kv_pack.h"

namespace lynx::cuda {
namespace {

constexpr int kPackThreads = 256;
constexpr int kChunk = 8;            // BF16 numbers in 16 bytes
constexpr unsigned kPackBlocks = 8;  // a job

// Moves 16 bytes at a time between a page and its packed tokens.
template <bool kToPage>
__global__ void __launch_bounds__(kPackThreads) PackKernel(const PackParams p) {
  const PackJob job = p.jobs[blockIdx.x];
  auto* page = reinterpret_cast<bf16*>(job.page);
  auto* packed = reinterpret_cast<bf16*>(job.packed);
  const int row_chunks = p.shape.head_dim / kChunk;
  const int token_chunks = 2 * p.shape.kv_heads * row_chunks;
  const int chunks = (job.end - job.begin) * token_chunks;
  const int stride = static_cast<int>(gridDim.y) * kPackThreads;
  for (int i = static_cast<int>(blockIdx.y * kPackThreads + threadIdx.x); i < chunks; i += stride) {
    const int row = i % token_chunks / row_chunks;
    const bool key = row < p.shape.kv_heads;
    const int head = key ? row : row - p.shape.kv_heads;
    bf16* in_page = page + Bf16Index(p.shape, key ? KvSide::kKey : KvSide::kValue, head,
                                     job.begin + i / token_chunks, i % row_chunks * kChunk);
    auto* one = reinterpret_cast<uint4*>(in_page);
    auto* other = reinterpret_cast<uint4*>(packed + int64_t{i} * kChunk);
    if (kToPage) {
      *one = *other;
    } else {
      *other = *one;
    }
  }
}

cudaError_t LaunchPack(const char* name, void (*kernel)(PackParams), const PackParams& p,
                       cudaStream_t stream) {
  if (!IsHeadDim(p.shape.head_dim) || p.shape.kv_heads <= 0) return cudaErrorInvalidValue;
  if (p.count == 0) return cudaSuccess;
  return Launch(name, kernel, dim3(static_cast<unsigned>(p.count), kPackBlocks), dim3(kPackThreads),
                0, stream, p);
}

}  // namespace

cudaError_t PackTokens(const PackParams& params, cudaStream_t stream) {
  return LaunchPack("PackTokens", PackKernel<false>, params, stream);
}

cudaError_t UnpackTokens(const PackParams& params, cudaStream_t stream) {
  return LaunchPack("UnpackTokens", PackKernel<true>, params, stream);
}

}  // namespace lynx::cuda
