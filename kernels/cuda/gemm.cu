#include "kernels/cuda/gemm.h"
#include "kernels/cuda/gemm_kernels.h"

namespace lynx::cuda {
namespace {

bool IsAligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

bool IsValid(const GemmParams& p) {
  constexpr int64_t kSizeMax = int64_t{65535} * 64;  // a grid has 65,535 rows of tiles
  if (p.m < 0 || p.m >= int64_t{1} << 31 || p.n < 0 || p.n > kSizeMax) return false;
  if (p.k <= 0 || p.k > kSizeMax || p.k % 16 != 0) return false;
  return p.lda >= p.k && p.lda % 8 == 0 && p.ldc >= p.n && IsAligned(p.a) && IsAligned(p.w);
}

int64_t LargeTiles(const GemmParams& p) { return (p.m + 127) / 128 * ((p.n + 127) / 128); }

}  // namespace

cudaError_t Gemm(const GemmParams& params, cudaStream_t stream) {
  if (!IsValid(params)) return cudaErrorInvalidValue;
  if (params.m == 0 || params.n == 0) return cudaSuccess;
  if (params.m <= kFewRows) return GemmFewRows(params, stream);
  // Large tiles only where there are enough for every SM (an A100 has 108, an H100 132).
  return LargeTiles(params) >= 128 ? GemmTiles128(params, stream) : GemmTiles64(params, stream);
}

}  // namespace lynx::cuda
