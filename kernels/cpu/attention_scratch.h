// The scratch memory of one block of query rows, cut out of the caller's bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"

namespace lynx {

// Query rows that share a page's loads and unpacking: 48 rows of 128 channels keep the scratch in
// L2.
inline constexpr int kQueryBlock = 48;

struct AttentionScratch {
  int64_t stride;    // floats from row to row: head_dim rounded up to 16
  float* q;          // [kQueryBlock][stride] scaled, zeros behind head_dim
  float* q_bf16;     // the same, rounded to BF16: StoreBf16Factors of attention_inl.h
  float* q_folded;   // times the steps of the code page at hand
  float* scores;     // [kQueryBlock][64], then weights; those of a BF16 page as StoreBf16Factors
  float* out;        // [kQueryBlock][stride] of the split at hand
  float* total;      // [kQueryBlock][stride] of all splits
  float* step;       // [stride] of the groups at hand
  float* offset;     // [stride], zeros behind head_dim
  float* zeros;      // [stride]
  uint8_t* codes;    // [head_dim][64] or [64][head_dim]
  std::byte* sinks;  // BF16 page of one head
  std::byte* edges;  // [2][head_dim][2] BF16
  size_t bytes;      // of all
};

static inline AttentionScratch CarveAttentionScratch(int head_dim, std::byte* memory) {
  AttentionScratch s{};
  size_t used = 0;
  const auto take = [&](size_t bytes) {
    std::byte* p = memory == nullptr ? nullptr : memory + used;
    used += (bytes + 63) / 64 * 64;
    return p;
  };
  const auto floats = [&](size_t count) {
    return reinterpret_cast<float*>(take(count * sizeof(float)));
  };
  const size_t d = static_cast<size_t>(head_dim);
  s.stride = static_cast<int64_t>((d + 15) / 16 * 16);
  const size_t rows = static_cast<size_t>(s.stride) * kQueryBlock;
  s.q = floats(rows);
  s.q_bf16 = floats(rows);
  s.q_folded = floats(rows);
  s.scores = floats(static_cast<size_t>(kQueryBlock) * kPageTokens);
  s.out = floats(rows);
  s.total = floats(rows);
  s.step = floats(s.stride);
  s.offset = floats(s.stride);
  s.zeros = floats(s.stride);
  s.codes = reinterpret_cast<uint8_t*>(take((d + 7) / 8 * 8 * kPageTokens));
  s.sinks = take(d * kPageTokens * 2 * sizeof(bf16));
  s.edges = take(2 * d * 2 * sizeof(bf16));
  s.bytes = used;
  return s;
}

}  // namespace lynx
