#include "model/dequantize.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "runtime/status.h"

namespace lynx {

namespace {

using Byte = unsigned char;

float ReadHalf(const Byte* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  return HalfToFloat(bits);
}

// Each function writes the values of one block.

void BlockF32(const Byte* block, float* out) { std::memcpy(out, block, sizeof(float)); }

void BlockF16(const Byte* block, float* out) { *out = ReadHalf(block); }

void BlockBf16(const Byte* block, float* out) {
  bf16 value;
  std::memcpy(&value, block, sizeof(value));
  *out = ToFloat(value);
}

// Q4_0: half d, 16 bytes; the low nibbles are values 0..15, the high ones 16..31.
void BlockQ4_0(const Byte* block, float* out) {
  const float d = ReadHalf(block);
  const Byte* quants = block + 2;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((quants[i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((quants[i] >> 4) - 8);
  }
}

// Q4_1: half d, half m, 16 bytes as above.
void BlockQ4_1(const Byte* block, float* out) {
  const float d = ReadHalf(block);
  const float m = ReadHalf(block + 2);
  const Byte* quants = block + 4;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(quants[i] & 15) + m;
    out[i + 16] = d * static_cast<float>(quants[i] >> 4) + m;
  }
}

// Value i of a block of 5-bit values: a nibble, and bit i of `high` as the fifth bit.
int Quant5(const Byte* quants, uint32_t high, int i) {
  const int nibble = i < 16 ? quants[i] & 15 : quants[i - 16] >> 4;
  return nibble | static_cast<int>((high >> i) & 1) << 4;
}

// Q5_0: half d, 4 bytes of fifth bits, 16 bytes of nibbles.
void BlockQ5_0(const Byte* block, float* out) {
  const float d = ReadHalf(block);
  uint32_t high;
  std::memcpy(&high, block + 2, sizeof(high));
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(Quant5(block + 6, high, i) - 16);
}

// Q5_1: half d, half m, then as above.
void BlockQ5_1(const Byte* block, float* out) {
  const float d = ReadHalf(block);
  const float m = ReadHalf(block + 2);
  uint32_t high;
  std::memcpy(&high, block + 4, sizeof(high));
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(Quant5(block + 8, high, i)) + m;
}

// Q8_0: half d, 32 signed bytes.
void BlockQ8_0(const Byte* block, float* out) {
  const float d = ReadHalf(block);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

struct ScaleMin {
  int scale;
  int min;
};

// Q4_K and Q5_K hold 8 scales and 8 minima of 6 bits in 12 bytes: the first four whole in bytes
// 0..3 and 4..7, the other four as a nibble in bytes 8..11 and two bits above the first four.
ScaleMin ReadScaleMin(const Byte* scales, int i) {
  if (i < 4) return {scales[i] & 63, scales[i + 4] & 63};
  return {(scales[i + 4] & 15) | (scales[i - 4] >> 6) << 4, (scales[i + 4] >> 4) | (scales[i] >> 6)
                                                                                       << 4};
}

// Q4_K: half d, half dmin, 12 bytes of scales, 128 bytes; 32 bytes hold two groups of 32: low, high
// nibbles.
void BlockQ4_K(const Byte* block, float* out) {
  const float d = ReadHalf(block);
  const float dmin = ReadHalf(block + 2);
  const Byte* quants = block + 16;
  for (int group = 0; group < 8; ++group) {
    const ScaleMin sm = ReadScaleMin(block + 4, group);
    const float scale = d * static_cast<float>(sm.scale);
    const float min = dmin * static_cast<float>(sm.min);
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int q = (quants[group / 2 * 32 + i] >> shift) & 15;
      out[group * 32 + i] = scale * static_cast<float>(q) - min;
    }
  }
}

// Q5_K: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit g of byte i for value i of
// group g.
void BlockQ5_K(const Byte* block, float* out) {
  const float d = ReadHalf(block);
  const float dmin = ReadHalf(block + 2);
  const Byte* high = block + 16;
  const Byte* quants = block + 48;
  for (int group = 0; group < 8; ++group) {
    const ScaleMin sm = ReadScaleMin(block + 4, group);
    const float scale = d * static_cast<float>(sm.scale);
    const float min = dmin * static_cast<float>(sm.min);
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int nibble = (quants[group / 2 * 32 + i] >> shift) & 15;
      const int q = nibble | ((high[i] >> group) & 1) << 4;
      out[group * 32 + i] = scale * static_cast<float>(q) - min;
    }
  }
}

// Q6_K: 128 bytes of low nibbles, 64 bytes of upper two bits, 16 signed scales, half d. Each half
// of the block holds 128 values in four runs of 32: runs 0 and 1 are the low nibbles of 64 bytes,
// runs 2 and 3 the high ones.
void BlockQ6_K(const Byte* block, float* out) {
  const Byte* scales = block + 192;
  const float d = ReadHalf(block + 208);
  for (int half = 0; half < 2; ++half) {
    const Byte* low = block + half * 64;
    const Byte* high = block + 128 + half * 32;
    for (int i = 0; i < 128; ++i) {
      const int run = i / 32;
      const int nibble = (low[i % 64] >> (i / 64 * 4)) & 15;
      const int q = (nibble | ((high[i % 32] >> (run * 2)) & 3) << 4) - 32;
      const int scale = static_cast<int8_t>(scales[half * 8 + i / 16]);
      out[half * 128 + i] = d * static_cast<float>(scale) * static_cast<float>(q);
    }
  }
}

struct Codec {
  GgmlType type;
  void (*block)(const Byte* block, float* out);
};

constexpr Codec kCodecs[] = {
    {GgmlType::kF32, BlockF32},   {GgmlType::kF16, BlockF16},   {GgmlType::kBF16, BlockBf16},
    {GgmlType::kQ4_0, BlockQ4_0}, {GgmlType::kQ4_1, BlockQ4_1}, {GgmlType::kQ5_0, BlockQ5_0},
    {GgmlType::kQ5_1, BlockQ5_1}, {GgmlType::kQ8_0, BlockQ8_0}, {GgmlType::kQ4_K, BlockQ4_K},
    {GgmlType::kQ5_K, BlockQ5_K}, {GgmlType::kQ6_K, BlockQ6_K},
};

const Codec* FindCodec(GgmlType type) {
  for (const Codec& codec : kCodecs) {
    if (codec.type == type) return &codec;
  }
  return nullptr;
}

}  // namespace

bool CanDequantize(GgmlType type) { return FindCodec(type) != nullptr; }

void DequantizeToFloat(GgmlType type, std::span<const std::byte> data, std::span<float> out) {
  const Codec* codec = FindCodec(type);
  LYNX_CHECK(codec != nullptr);
  const GgmlTypeInfo& info = *FindGgmlType(type);
  const size_t blocks = data.size() / info.block_bytes;
  LYNX_CHECK(blocks * info.block_bytes == data.size());
  LYNX_CHECK(blocks * info.block_values == out.size());
  const auto* in = reinterpret_cast<const Byte*>(data.data());
  for (size_t i = 0; i < blocks; ++i)
    codec->block(in + i * info.block_bytes, out.data() + i * info.block_values);
}

size_t DequantizeToBf16(GgmlType type, std::span<const std::byte> data, std::span<bf16> out) {
  constexpr size_t kChunkValues = 4096;  // a multiple of every block
  const GgmlTypeInfo& info = *FindGgmlType(type);
  float values[kChunkValues];
  size_t rounded = 0;
  for (size_t done = 0; done < out.size(); done += kChunkValues) {
    const size_t count = std::min(kChunkValues, out.size() - done);
    const auto chunk = data.subspan(done / info.block_values * info.block_bytes,
                                    count / info.block_values * info.block_bytes);
    DequantizeToFloat(type, chunk, {values, count});
    for (size_t i = 0; i < count; ++i) {
      out[done + i] = ToBf16(values[i]);
      // The lower half of a float is what BF16 leaves out, but for the payload of a NaN.
      rounded += (std::bit_cast<uint32_t>(values[i]) & 0xffffu) != 0;
    }
  }
  return rounded;
}

float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 31;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

}  // namespace lynx
