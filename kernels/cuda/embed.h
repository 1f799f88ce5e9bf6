// out = float(table[token]): a token's row of the embeddings, exactly. Reads 2 bytes and writes 4
// for each output; no FLOPs.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "runtime/bf16.h"

namespace lynx::cuda {

struct EmbedParams {
  const bf16* table = nullptr;      // [vocab, hidden]
  const int32_t* tokens = nullptr;  // [rows], in [0, vocab): the caller has checked them
  float* out = nullptr;             // [rows, hidden]
  int64_t rows = 0;
  int64_t hidden = 0;
};
cudaError_t Embed(const EmbedParams& params, cudaStream_t stream);

}  // namespace lynx::cuda
