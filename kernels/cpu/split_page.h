// SplitPage with vectors, for head dimensions that are a multiple of 8: the bytes of kv_code.cc's,
// which is the specification. AVX2 serves the wider tiers too, because the division is what takes
// the time. Included by the tiers' files only (see simd.h).
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/code_planes_inl.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"
#include "kernels/kv_split.h"
#include "kernels/kv_split_inl.h"

namespace lynx {
namespace {

// BF16 numbers as int16 of the same order (ToOrdered - 0x8000); its own inverse.
LYNX_SIMD __m256i FlipOrder(__m256i x) {
  const __m256i negative = _mm256_srai_epi16(x, 15);
  return _mm256_xor_si256(x, _mm256_srli_epi16(negative, 1));
}
LYNX_SIMD __m256i LoadPairs(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
LYNX_SIMD __m256 EvenOf(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
LYNX_SIMD __m256 OddOf(__m256i pairs) {
  return _mm256_castsi256_ps(
      _mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}
LYNX_SIMD void StoreInts(int32_t* p, __m256i x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x);
}
LYNX_SIMD __m256i LoadInts(const int32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// Quantize for numbers that are not below `low`.
LYNX_SIMD __m256i QuantizeEight(__m256 x, __m256 low, __m256 step) {
  const __m256 ratio = _mm256_div_ps(_mm256_sub_ps(x, low), step);
  return _mm256_cvtps_epi32(_mm256_min_ps(ratio, _mm256_set1_ps(kCodeMax)));
}
LYNX_SIMD void StoreCodes(uint8_t* p, __m256i codes) {
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}

// One KV head's K or V.
class VectorSplitter {
 public:
  // Bytes of scratch, 64-byte aligned.
  static size_t ScratchBytes(int head_dim) {
    return static_cast<size_t>(head_dim) * (kPageTokens + 4 * sizeof(int32_t));
  }

  VectorSplitter(const SplitPageArgs& args, int head, KvSide side, std::byte* scratch)
      : d_(args.shape.head_dim),
        first_token_(args.first_token),
        side_(side),
        part_(FindCodePart(args.shape, args.split, head, side, args.anchor, args.residual)),
        values_(args.page + ElementIndex(args.shape, side, head, 0, 0) * sizeof(bf16)),
        codes_(reinterpret_cast<uint8_t*>(scratch)),
        min_(reinterpret_cast<int32_t*>(scratch + static_cast<size_t>(d_) * kPageTokens)),
        max_(min_ + d_),
        low_(reinterpret_cast<float*>(max_ + d_)),
        step_(low_ + d_) {}

  // False if the side has no code.
  bool Run() {
    const bool key = side_ == KvSide::kKey;
    key ? KeyRanges() : ValueRanges();
    if (!Steps()) return false;
    key ? KeyCodes() : ValueCodes();
    const int rest = kCodeBits - part_.anchor_bits;
    WritePlane(Mutable(part_.anchor), part_.anchor_bits, rest);
    if (rest > 0) WritePlane(Mutable(part_.residual), rest, 0);
    return true;
  }

 private:
  static constexpr int kKeyBytes = kPageTokens * 4;  // of a pair of channels

  static std::byte* Mutable(const std::byte* p) { return const_cast<std::byte*>(p); }

  // Halves of 32-bit lanes, as int32.
  static LYNX_SIMD __m256i LowHalves(__m256i x) {
    return _mm256_srai_epi32(_mm256_slli_epi32(x, 16), 16);
  }
  static LYNX_SIMD __m256i HighHalves(__m256i x) { return _mm256_srai_epi32(x, 16); }

  void KeyRanges() {
    // Tokens before the first one are replaced by the last token, which changes no range.
    const int begin = first_token_ / 8 * 8;
    const __m256i token = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i skip = _mm256_cmpgt_epi32(_mm256_set1_epi32(first_token_ - begin), token);
    for (int c = 0; c < d_; c += 2) {
      const std::byte* row = values_ + c / 2 * kKeyBytes;
      uint32_t last;
      std::memcpy(&last, row + kKeyBytes - 4, 4);
      const __m256i first = FlipOrder(_mm256_blendv_epi8(
          LoadPairs(row + begin * 4), _mm256_set1_epi32(static_cast<int>(last)), skip));
      __m256i min = first, max = first;
      for (int t = begin + 8; t < kPageTokens; t += 8) {
        const __m256i x = FlipOrder(LoadPairs(row + t * 4));
        min = _mm256_min_epi16(min, x);
        max = _mm256_max_epi16(max, x);
      }
      __m128i min4 = _mm_min_epi16(_mm256_castsi256_si128(min), _mm256_extracti128_si256(min, 1));
      __m128i max4 = _mm_max_epi16(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
      min4 = _mm_min_epi16(min4, _mm_shuffle_epi32(min4, 0x4e));
      max4 = _mm_max_epi16(max4, _mm_shuffle_epi32(max4, 0x4e));
      min4 = _mm_min_epi16(min4, _mm_shuffle_epi32(min4, 0xb1));
      max4 = _mm_max_epi16(max4, _mm_shuffle_epi32(max4, 0xb1));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(min_ + c), _mm_cvtepi16_epi32(min4));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(max_ + c), _mm_cvtepi16_epi32(max4));
    }
  }

  void ValueRanges() {
    const int64_t pair_bytes = static_cast<int64_t>(d_) * 4;
    const int begin = first_token_ / 2;
    for (int c = 0; c < d_; c += 8) {
      const std::byte* column = values_ + c * 4;
      __m256i first = LoadPairs(column + begin * pair_bytes);
      if (first_token_ % 2 != 0) {
        first = _mm256_blend_epi16(_mm256_srli_epi32(first, 16), first, 0xaa);
      }
      first = FlipOrder(first);
      __m256i min = first, max = first;
      for (int pair = begin + 1; pair < kPagePairs; ++pair) {
        const __m256i x = FlipOrder(LoadPairs(column + pair * pair_bytes));
        min = _mm256_min_epi16(min, x);
        max = _mm256_max_epi16(max, x);
      }
      StoreInts(min_ + c, _mm256_min_epi32(LowHalves(min), HighHalves(min)));
      StoreInts(max_ + c, _mm256_max_epi32(LowHalves(max), HighHalves(max)));
    }
  }

  // lo, k and their floats from the ranges: GroupStepCode and StepOf.
  bool Steps() {
    const __m256i mantissas =
        _mm256_setr_epi32(static_cast<int>(StepMantissa(0)), static_cast<int>(StepMantissa(1)),
                          static_cast<int>(StepMantissa(2)), static_cast<int>(StepMantissa(3)),
                          static_cast<int>(StepMantissa(4)), static_cast<int>(StepMantissa(5)),
                          static_cast<int>(StepMantissa(6)), static_cast<int>(StepMantissa(7)));
    __m256i raw = _mm256_setzero_si256();
    for (int c = 0; c < d_; c += 8) {
      const __m256i min = LoadInts(min_ + c), max = LoadInts(max_ + c);
      raw = _mm256_or_si256(raw, _mm256_cmpgt_epi32(_mm256_set1_epi32(kOrderedMin - 0x8000), min));
      raw = _mm256_or_si256(raw, _mm256_cmpgt_epi32(max, _mm256_set1_epi32(kOrderedMax - 0x8000)));
      const __m256 low = EvenOf(FlipOrder(min));
      const __m256 high = EvenOf(FlipOrder(max));
      const __m256i step =
          _mm256_castps_si256(_mm256_div_ps(_mm256_sub_ps(high, low), _mm256_set1_ps(kCodeMax)));
      const __m256i mantissa = _mm256_and_si256(step, _mm256_set1_epi32(0x7fffff));
      __m256i k = _mm256_slli_epi32(
          _mm256_sub_epi32(_mm256_srli_epi32(step, 23), _mm256_set1_epi32(127)), 3);
      for (int i = 0; i < 8; ++i) {
        const __m256i m = _mm256_set1_epi32(static_cast<int>(StepMantissa(i)));
        k = _mm256_sub_epi32(k, _mm256_cmpgt_epi32(mantissa, m));
      }
      k = _mm256_max_epi32(k, _mm256_set1_epi32(kMinStep));
      raw = _mm256_or_si256(raw, _mm256_cmpgt_epi32(k, _mm256_set1_epi32(kMaxStep)));
      const __m256i exponent = _mm256_add_epi32(_mm256_srai_epi32(k, 3), _mm256_set1_epi32(127));
      const __m256i bits = _mm256_or_si256(
          _mm256_slli_epi32(exponent, 23),
          _mm256_permutevar8x32_epi32(mantissas, _mm256_and_si256(k, _mm256_set1_epi32(7))));
      _mm256_storeu_ps(low_ + c, low);
      _mm256_storeu_ps(step_ + c, _mm256_castsi256_ps(bits));
      const __m256i lo = _mm256_srli_epi32(_mm256_castps_si256(low), 16);
      const __m128i words =
          _mm_packus_epi32(_mm256_castsi256_si128(lo), _mm256_extracti128_si256(lo, 1));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(Mutable(part_.lo) + 2 * c), words);
      StoreCodes(reinterpret_cast<uint8_t*>(Mutable(part_.k)) + c,
                 _mm256_and_si256(k, _mm256_set1_epi32(0xff)));
    }
    return _mm256_testz_si256(raw, raw) != 0;
  }

  void KeyCodes() {
    for (int c = 0; c < d_; c += 2) {
      const std::byte* row = values_ + c / 2 * kKeyBytes;
      uint8_t* even = codes_ + c * kPageTokens;
      uint8_t* odd = even + kPageTokens;
      const __m256 low0 = _mm256_set1_ps(low_[c]), low1 = _mm256_set1_ps(low_[c + 1]);
      const __m256 step0 = _mm256_set1_ps(step_[c]), step1 = _mm256_set1_ps(step_[c + 1]);
      for (int t = first_token_ / 8 * 8; t < kPageTokens; t += 8) {
        const __m256i x = LoadPairs(row + t * 4);
        StoreCodes(even + t, QuantizeEight(EvenOf(x), low0, step0));
        StoreCodes(odd + t, QuantizeEight(OddOf(x), low1, step1));
      }
      std::memset(even, 0, static_cast<size_t>(first_token_));
      std::memset(odd, 0, static_cast<size_t>(first_token_));
    }
  }

  void ValueCodes() {
    for (int c = 0; c < d_; c += 8) {
      const __m256 low = _mm256_loadu_ps(low_ + c), step = _mm256_loadu_ps(step_ + c);
      for (int pair = first_token_ / 2; pair < kPagePairs; ++pair) {
        const __m256i x = LoadPairs(values_ + (static_cast<int64_t>(pair) * d_ + c) * 4);
        uint8_t* even = codes_ + 2 * pair * d_ + c;
        StoreCodes(even, QuantizeEight(EvenOf(x), low, step));
        StoreCodes(even + d_, QuantizeEight(OddOf(x), low, step));
      }
    }
    std::memset(codes_, 0, static_cast<size_t>(first_token_) * d_);
  }

  // Bits [place, place + bits) of all codes into a plane.
  void WritePlane(std::byte* plane, int bits, int place) const {
    SubPlanes planes;
    AddPlane(d_, side_, plane, bits, place, &planes);
    for (int i = 0; i < planes.count; ++i) {
      const SubPlane& sub = planes.list[i];
      switch (sub.width) {
        case 8:
          WriteSubPlane<8>(sub);
          break;
        case 4:
          WriteSubPlane<4>(sub);
          break;
        case 2:
          WriteSubPlane<2>(sub);
          break;
        default:
          WriteSubPlane<1>(sub);
      }
    }
  }

  // Eight lanes of bytes at a time, a multiple of which every row has.
  template <int kWidth>
  void WriteSubPlane(const SubPlane& plane) const {
    constexpr int kPerByte = 8 / kWidth;
    constexpr uint64_t kMask = ((1u << kWidth) - 1) * 0x0101010101010101u;
    const int lanes = LaneBytes(d_, side_), rows = side_ == KvSide::kKey ? d_ : kPageTokens;
    const int place = plane.place;
    std::byte* out = Mutable(plane.base);
    for (int row = 0; row < rows; row += kPerByte, out += lanes) {
      const uint8_t* codes = codes_ + row * lanes;
      for (int lane = 0; lane < lanes; lane += 8) {
        uint64_t bytes = 0;
        for (int f = 0; f < kPerByte; ++f) {
          uint64_t code;
          std::memcpy(&code, codes + f * lanes + lane, 8);
          bytes |= (code >> place & kMask) << (f * kWidth);
        }
        std::memcpy(out + lane, &bytes, 8);
      }
    }
  }

  const int d_, first_token_;
  const KvSide side_;
  const CodePart part_;
  const std::byte* const values_;
  uint8_t* const codes_;  // [head_dim][64] or [64][head_dim]
  int32_t* const min_;    // [head_dim], in FlipOrder's order
  int32_t* const max_;
  float* const low_;  // [head_dim]
  float* const step_;
};

SplitResult SplitPageVectors(const SplitPageArgs& args) {
  std::byte* scratch = ThreadScratch(VectorSplitter::ScratchBytes(args.shape.head_dim));
  for (int head = 0; head < args.shape.kv_heads; ++head) {
    for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
      if (!VectorSplitter(args, head, side, scratch).Run()) return SplitResult::kRaw;
    }
  }
  return SplitResult::kCode;
}

}  // namespace
}  // namespace lynx
