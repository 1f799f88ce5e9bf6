// The checksum (kernels/checksum_inl.h) of bytes that lie in pieces in device memory. Reads each
// byte once, and takes about two integer operations for it.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace lynx::cuda {

// One launch takes so many pieces; more are several launches, whose sums add up.
inline constexpr int kChecksumPiecesMax = 64;

struct ChecksumPiece {
  const std::byte* memory = nullptr;  // any alignment; 8 bytes make it fast
  uint64_t bytes = 0;
};

struct ChecksumParams {
  std::array<ChecksumPiece, kChecksumPiecesMax> pieces{};
  int count = 0;  // of pieces
  // Number of the first piece's first word. Every piece begins with a word of its own, so that the
  // sum depends on where bytes are cut, unless at a multiple of 8.
  uint64_t first_word = 0;
  uint64_t* sum = nullptr;  // on the device: terms are added to it
};
// cudaErrorInvalidValue for a count beyond the maximum.
cudaError_t AddChecksum(const ChecksumParams& params, cudaStream_t stream);

inline uint64_t ChecksumWords(uint64_t bytes) { return (bytes + 7) / 8; }

}  // namespace lynx::cuda
