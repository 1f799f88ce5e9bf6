// The Tail (kernels/kv_split.h) of a batch of pages: for each coded value its rank among the BF16
// numbers that quantize to its code, in ceil(log2 n) bits. The order is the CPU's: [kv_heads][K,
// V][head_dim][tokens], bits from each byte's lowest, the last byte filled up with zeros.
// Encoding reads a BF16 page, lo and k; decoding reads the code and the Tail and writes the page;
// both find each value's interval with some 4 float32 divisions. Everything may lie in pinned host
// memory.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/kv_split.h"

namespace lynx::cuda {

struct TailEncodeJob {
  const std::byte* page = nullptr;    // the BF16 page that the blocks were made from
  const std::byte* anchor = nullptr;  // only lo and k are read
  std::byte* tail = nullptr;          // room for Bf16PageBytes, aligned to 4 bytes. Up to 3 bytes
                                      // behind the Tail are written too
  int32_t first_token = 0;
  int32_t pad = 0;
};
struct TailEncodeParams {
  KvShape shape{};  // head_dim 64, 128 or 256
  KvSplit split{};
  const TailEncodeJob* jobs = nullptr;  // [count]
  int64_t count = 0;
  uint32_t* bytes = nullptr;  // [count]: the size of each Tail
};
cudaError_t TailEncode(const TailEncodeParams& params, cudaStream_t stream);

struct TailDecodeJob {
  const std::byte* anchor = nullptr;
  const std::byte* residual = nullptr;  // null if both widths are 8
  const std::byte* tail = nullptr;      // from a peer, any alignment; never read beyond
  std::byte* page =
      nullptr;  // BF16 page, apart from the Tail; tokens before first_token are left alone
  uint32_t tail_bytes = 0;
  int32_t first_token = 0;
};
struct TailDecodeParams {
  KvShape shape{};  // head_dim 64, 128 or 256
  KvSplit split{};
  const TailDecodeJob* jobs = nullptr;  // [count]
  int64_t count = 0;
  int32_t* bad = nullptr;  // [count]: 1 if the Tail does not belong to the code
                           // (its length, a rank, set filling bits, a lo that is no number; the
                           // page's coded tokens are then unspecified), else 0
};
cudaError_t TailDecode(const TailDecodeParams& params, cudaStream_t stream);

}  // namespace lynx::cuda
