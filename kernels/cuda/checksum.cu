#include "kernels/checksum_inl.h"
#include "kernels/cuda/checksum.h"
#include "kernels/cuda/device.cuh"

namespace lynx::cuda {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kBlocksMax = 64;            // a piece
constexpr uint64_t kBytesOfBlock = 64u << 10;  // a piece has a block for about so many

LYNX_DEVICE uint64_t LoadWord(const std::byte* at, uint64_t bytes) {
  if (bytes >= 8 && reinterpret_cast<uintptr_t>(at) % 8 == 0) {
    return *reinterpret_cast<const uint64_t*>(at);
  }
  uint64_t word = 0;
  for (uint64_t i = 0; i < 8 && i < bytes; ++i) word |= static_cast<uint64_t>(at[i]) << (8 * i);
  return word;
}

// A row of blocks takes a piece. Terms are whole numbers: their sum has the same bits in any order.
__global__ void __launch_bounds__(kThreads) ChecksumKernel(const ChecksumParams p) {
  const auto piece = static_cast<int>(blockIdx.y);
  uint64_t first = p.first_word;
  for (int i = 0; i < piece; ++i) first += (p.pieces[i].bytes + 7) / 8;
  const std::byte* memory = p.pieces[piece].memory;
  const uint64_t bytes = p.pieces[piece].bytes;
  const uint64_t words = (bytes + 7) / 8;
  unsigned long long sum = 0;
#pragma unroll 4
  for (uint64_t i = uint64_t{blockIdx.x} * kThreads + threadIdx.x; i < words;
       i += uint64_t{gridDim.x} * kThreads) {
    sum += ChecksumTerm(LoadWord(memory + 8 * i, bytes - 8 * i), first + i);
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    sum += __shfl_xor_sync(~0u, sum, distance);
  }
  if (threadIdx.x % 32 == 0) atomicAdd(reinterpret_cast<unsigned long long*>(p.sum), sum);
}

}  // namespace

cudaError_t AddChecksum(const ChecksumParams& params, cudaStream_t stream) {
  if (params.count < 0 || params.count > kChecksumPiecesMax) return cudaErrorInvalidValue;
  if (params.count == 0) return cudaSuccess;
  uint64_t longest = 0;
  for (int i = 0; i < params.count; ++i) {
    if (params.pieces[i].bytes > longest) longest = params.pieces[i].bytes;
  }
  const uint64_t blocks = (longest + kBytesOfBlock - 1) / kBytesOfBlock;
  const unsigned in_row = blocks < kBlocksMax ? static_cast<unsigned>(blocks) : kBlocksMax;
  return Launch("Checksum", ChecksumKernel, dim3(in_row > 0 ? in_row : 1, params.count),
                dim3(kThreads), 0, stream, params);
}

}  // namespace lynx::cuda
