// TailEncode and TailDecode with vectors: the bytes of kv_tail.cc's, which is the specification.
// The intervals of eight codes are found together; what remains for each value is a few bits to
// write or read. Included by the tiers' files only (see simd.h).
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/code_planes_inl.h"
#include "kernels/cpu/attention_lanes.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/unpack_codes.h"
#include "kernels/kv_split.h"
#include "kernels/kv_split_inl.h"

namespace lynx {
namespace {

// One group's numbers for all lanes.
class GroupIntervals {
 public:
  GroupIntervals(bf16 lo, float step)
      : lo_(lo), step_(step), low_(_mm256_set1_ps(ToFloat(lo))), steps_(_mm256_set1_ps(step)) {}

  // Quantize of eight BF16 numbers given as bits.
  __m256i CodesOf(__m256i bits) const {
    const __m256 x = _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
    const __m256 ratio = _mm256_div_ps(_mm256_sub_ps(x, low_), steps_);
    const __m256 most = _mm256_min_ps(ratio, _mm256_set1_ps(kCodeMax));
    return _mm256_cvtps_epi32(_mm256_max_ps(most, _mm256_setzero_ps()));
  }

  // TailIntervalOf for eight codes.
  void Find(__m256i codes, __m256i* first, __m256i* count) const {
    *first = FirstOfRanks(codes);
    const __m256i end = FirstOfRanks(_mm256_add_epi32(codes, _mm256_set1_epi32(1)));
    *count = _mm256_sub_epi32(end, *first);
  }

  // Between bits and ordered integers; `negative` is all ones or zero.
  static __m256i Flip(__m256i x, __m256i negative) {
    const __m256i low = _mm256_and_si256(negative, _mm256_set1_epi32(0x7fff));
    return _mm256_xor_si256(x, _mm256_or_si256(low, _mm256_set1_epi32(0x8000)));
  }
  static __m256i ToBits(__m256i ordered) {
    return Flip(ordered, _mm256_cmpgt_epi32(_mm256_set1_epi32(0x8000), ordered));
  }
  static __m256i ToOrder(__m256i bits) {
    return Flip(bits, _mm256_cmpgt_epi32(bits, _mm256_set1_epi32(0x7fff)));
  }

 private:
  // FirstOfRank: the guess is the answer, or the number behind it is; else (rare, a number near 0
  // far from lo) the scalar search.
  __m256i FirstOfRanks(__m256i ranks) const {
    const __m256 wanted = _mm256_cvtepi32_ps(ranks);
    const __m256i begin = _mm256_set1_epi32(ToOrdered(lo_));
    const __m256i guess = _mm256_castps_si256(
        _mm256_fmadd_ps(steps_, _mm256_sub_ps(wanted, _mm256_set1_ps(0.5f)), low_));
    __m256i at = Flip(_mm256_srli_epi32(guess, 16), _mm256_srai_epi32(guess, 31));
    at = _mm256_max_epi32(begin, _mm256_min_epi32(at, _mm256_set1_epi32(kOrderedMax)));
    const __m256i reached = Reaches(at, wanted);
    // at - 1 where `at` reaches the rank, which must not, else at + 1, which must.
    const __m256i one = _mm256_set1_epi32(1);
    const __m256i beside = _mm256_add_epi32(at, _mm256_or_si256(reached, one));
    const __m256i good = _mm256_xor_si256(reached, Reaches(beside, wanted));
    const __m256i zero = _mm256_cmpgt_epi32(one, ranks);
    const __m256i found = _mm256_add_epi32(_mm256_add_epi32(at, one), reached);
    const __m256i firsts = _mm256_blendv_epi8(found, begin, zero);
    const int known = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_or_si256(good, zero)));
    return known == 0xff ? firsts : Search(ranks, firsts, known);
  }

  [[gnu::noinline]] __m256i Search(__m256i ranks, __m256i firsts, int known) const {
    alignas(32) int32_t rank[8], first[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(rank), ranks);
    _mm256_store_si256(reinterpret_cast<__m256i*>(first), firsts);
    for (int i = 0; i < 8; ++i) {
      if ((known >> i & 1) == 0) first[i] = FirstOfRank(rank[i], lo_, step_);
    }
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(first));
  }

  // All ones where Rank of the ordered integer is at least `wanted`. One beyond the finite numbers
  // is an infinity, and reaches every rank or none.
  __m256i Reaches(__m256i ordered, __m256 wanted) const {
    const __m256 x = _mm256_castsi256_ps(_mm256_slli_epi32(ToBits(ordered), 16));
    const __m256 ratio = _mm256_div_ps(_mm256_sub_ps(x, low_), steps_);
    const __m256 round = _mm256_set1_ps(kRoundToInt);
    const __m256 most = _mm256_min_ps(ratio, _mm256_set1_ps(0x1p22f));
    const __m256 rank = _mm256_sub_ps(_mm256_add_ps(most, round), round);
    return _mm256_castps_si256(_mm256_cmp_ps(rank, wanted, _CMP_GE_OQ));
  }

  const bf16 lo_;
  const float step_;
  const __m256 low_, steps_;
};

// TailBits, at most 16, from the exponent of count - 1.
LYNX_SIMD __m256i BitsOfRanks(__m256i counts) {
  const __m256 last = _mm256_cvtepi32_ps(_mm256_sub_epi32(counts, _mm256_set1_epi32(1)));
  const __m256i exponent = _mm256_srai_epi32(_mm256_castps_si256(last), 23);
  const __m256i bits = _mm256_sub_epi32(exponent, _mm256_set1_epi32(126));
  return _mm256_max_epi32(bits, _mm256_setzero_si256());
}

// All ones for the tokens t .. t + 7 that are not before `first_token`.
LYNX_SIMD __m256i CodedTokens(int t, int first_token) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(lane, _mm256_set1_epi32(first_token - t - 1));
}

// The members of each pair of 32-bit lanes, as 64-bit lanes.
LYNX_SIMD __m256i FirstOfPairs(__m256i x) {
  return _mm256_and_si256(x, _mm256_set1_epi64x(0xffffffff));
}
LYNX_SIMD __m256i SecondOfPairs(__m256i x) { return _mm256_srli_epi64(x, 32); }

LYNX_SIMD __m256i LoadWords(const uint16_t* p) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

// Elements from the page's start to a group's first one, and from token to token: K's tokens lie
// evenly, V's alternate within a pair.
struct GroupPlace {
  uint16_t* first;
  int64_t pair_stride;   // from token 0 to token 2
  int64_t token_stride;  // from token 0 to token 1

  static GroupPlace Of(KvShape shape, KvSide side, int head, int c, std::byte* page) {
    auto* first = reinterpret_cast<uint16_t*>(page) + ElementIndex(shape, side, head, 0, c);
    if (side == KvSide::kKey) return {first, 4, 2};
    return {first, 2 * static_cast<int64_t>(shape.head_dim), 1};
  }
  void Load(uint16_t* tokens) const {
    for (int pair = 0; pair < kPagePairs; ++pair) {
      tokens[2 * pair] = first[pair * pair_stride];
      tokens[2 * pair + 1] = first[pair * pair_stride + token_stride];
    }
  }
  void Store(const uint16_t* tokens, int begin) const {
    int pair = begin / 2;
    if (begin % 2 != 0) {
      first[pair * pair_stride + token_stride] = tokens[begin];
      ++pair;
    }
    for (; pair < kPagePairs; ++pair) {
      first[pair * pair_stride] = tokens[2 * pair];
      first[pair * pair_stride + token_stride] = tokens[2 * pair + 1];
    }
  }
};

class TailWriter {
 public:
  explicit TailWriter(std::byte* out) : begin_(out), out_(out) {}
  // `value` of at most 32 bits.
  LYNX_SIMD void Put(uint64_t value, int bits) {
    pending_ |= value << count_;
    count_ += bits;
    if (count_ < 32) return;
    std::memcpy(out_, &pending_, 4);
    out_ += 4;
    pending_ >>= 32;
    count_ -= 32;
  }
  // The ranks of eight tokens, two at a time.
  LYNX_SIMD void PutRanks(__m256i ranks, __m256i bits) {
    const __m256i first_bits = FirstOfPairs(bits), second_bits = SecondOfPairs(bits);
    const __m256i second = _mm256_sllv_epi64(SecondOfPairs(ranks), first_bits);
    alignas(32) uint64_t values[4], widths[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(values),
                       _mm256_or_si256(FirstOfPairs(ranks), second));
    _mm256_store_si256(reinterpret_cast<__m256i*>(widths),
                       _mm256_add_epi64(first_bits, second_bits));
    for (int i = 0; i < 4; ++i) Put(values[i], static_cast<int>(widths[i]));
  }
  // Returns all bytes written.
  size_t Finish() {
    for (; count_ > 0; count_ -= 8, pending_ >>= 8) *out_++ = static_cast<std::byte>(pending_);
    return static_cast<size_t>(out_ - begin_);
  }

 private:
  std::byte* const begin_;
  std::byte* out_;
  uint64_t pending_ = 0;
  int count_ = 0;
};

// Where bits lie does not depend on what they are: nothing waits for the bits before.
class TailReader {
 public:
  TailReader(const std::byte* in, size_t bytes) : in_(in), bytes_(bytes) {}
  // The next bits, and more behind them; false at the end of the bytes. `bits` is at most 32.
  LYNX_SIMD bool Get(size_t bits, uint64_t* value) {
    const size_t byte = at_ / 8;
    uint64_t word = 0;
    if (byte + 8 <= bytes_) {
      std::memcpy(&word, in_ + byte, 8);
    } else if (at_ + bits > bytes_ * 8) {
      return false;
    } else if (byte < bytes_) {
      std::memcpy(&word, in_ + byte, bytes_ - byte);
    }
    *value = word >> at_ % 8;
    at_ += bits;
    return true;
  }
  // The ranks of eight tokens; false as Get.
  LYNX_SIMD bool GetRanks(__m256i bits, __m256i* ranks) {
    const __m256i first_bits = FirstOfPairs(bits), second_bits = SecondOfPairs(bits);
    alignas(32) uint64_t values[4], widths[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(widths),
                       _mm256_add_epi64(first_bits, second_bits));
    for (int i = 0; i < 4; ++i) {
      if (!Get(widths[i], &values[i])) return false;
    }
    const __m256i both = _mm256_load_si256(reinterpret_cast<const __m256i*>(values));
    const __m256i ones = _mm256_set1_epi64x(-1);
    const __m256i first = _mm256_andnot_si256(_mm256_sllv_epi64(ones, first_bits), both);
    const __m256i second = _mm256_andnot_si256(_mm256_sllv_epi64(ones, second_bits),
                                               _mm256_srlv_epi64(both, first_bits));
    *ranks = _mm256_or_si256(first, _mm256_slli_epi64(second, 32));
    return true;
  }
  // Whether all bytes are used and only zeros fill the last one up.
  bool AtEnd() const {
    if ((at_ + 7) / 8 != bytes_) return false;
    return at_ % 8 == 0 || static_cast<unsigned>(in_[bytes_ - 1]) >> at_ % 8 == 0;
  }

 private:
  const std::byte* const in_;
  const size_t bytes_;
  size_t at_ = 0;  // bits
};

size_t TailEncodeVectors(const TailEncodeArgs& args) {
  const KvShape shape = args.shape;
  TailWriter writer(args.tail);
  for (int head = 0; head < shape.kv_heads; ++head) {
    for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
      const CodePart part = FindCodePart(shape, args.split, head, side, args.anchor, args.residual);
      for (int c = 0; c < shape.head_dim; ++c) {
        uint16_t tokens[kPageTokens];
        GroupPlace::Of(shape, side, head, c, const_cast<std::byte*>(args.page)).Load(tokens);
        const GroupIntervals group(ReadLo(part, c), ReadStep(part, c));
        for (int t = args.first_token / 8 * 8; t < kPageTokens; t += 8) {
          const __m256i x = LoadWords(tokens + t), coded = CodedTokens(t, args.first_token);
          __m256i first, count;
          group.Find(group.CodesOf(x), &first, &count);
          const __m256i ranks = _mm256_sub_epi32(GroupIntervals::ToOrder(x), first);
          writer.PutRanks(_mm256_and_si256(ranks, coded),
                          _mm256_and_si256(BitsOfRanks(count), coded));
        }
      }
    }
  }
  return writer.Finish();
}

// Reads one group's tokens; false as TailDecode.
bool ReadGroup(const GroupIntervals& group, const uint16_t* codes, int first_token,
               TailReader* reader, uint16_t* tokens) {
  for (int t = first_token / 8 * 8; t < kPageTokens; t += 8) {
    __m256i first, count, ranks;
    group.Find(LoadWords(codes + t), &first, &count);
    const __m256i coded = CodedTokens(t, first_token);
    if (!reader->GetRanks(_mm256_and_si256(BitsOfRanks(count), coded), &ranks)) return false;
    const __m256i bad = _mm256_andnot_si256(_mm256_cmpgt_epi32(count, ranks), coded);
    if (!_mm256_testz_si256(bad, bad)) return false;
    const __m256i x = GroupIntervals::ToBits(_mm256_add_epi32(first, ranks));
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(tokens + t), words);
  }
  return true;
}

bool TailDecodeVectors(const TailDecodeArgs& args) {
  const KvShape shape = args.shape;
  const int d = shape.head_dim;
  auto* all = reinterpret_cast<uint8_t*>(
      ThreadScratch(static_cast<size_t>(PaddedChannels(d)) * kPageTokens));
  TailReader reader(args.tail.data(), args.tail.size());
  for (int head = 0; head < shape.kv_heads; ++head) {
    for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
      const CodePart part = FindCodePart(shape, args.split, head, side, args.anchor, args.residual);
      UnpackCodes<SimdLanes>(part, d, side, /*full=*/true, all);
      const bool key = side == KvSide::kKey;
      const int64_t token_stride = key ? 1 : d, channel_stride = key ? kPageTokens : 1;
      for (int c = 0; c < d; ++c) {
        const bf16 lo = ReadLo(part, c);
        if (!IsFinite(lo)) return false;
        uint16_t codes[kPageTokens], tokens[kPageTokens];
        for (int t = 0; t < kPageTokens; ++t) {
          codes[t] = all[c * channel_stride + t * token_stride];
        }
        const GroupIntervals group(lo, ReadStep(part, c));
        if (!ReadGroup(group, codes, args.first_token, &reader, tokens)) return false;
        GroupPlace::Of(shape, side, head, c, args.page).Store(tokens, args.first_token);
      }
    }
  }
  return reader.AtEnd();
}

}  // namespace
}  // namespace lynx
