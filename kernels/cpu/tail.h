// TailEncode and TailDecode with vectors: the bytes of kv_tail.cc's, which is the specification.
// The intervals of eight codes are found together; what remains for each value is a few bits to
// write or read. Included by the tiers' files only (see simd.h).
#pragma once

#include <immintrin.h>

#include <bit>
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
  void Find(__m256i codes, int32_t* first, int32_t* count) const {
    const __m256i begin = FirstOfRanks(codes);
    const __m256i end = FirstOfRanks(_mm256_add_epi32(codes, _mm256_set1_epi32(1)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(first), begin);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(count), _mm256_sub_epi32(end, begin));
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

  // Between bits and ordered integers; `negative` is all ones or zero.
  static __m256i Flip(__m256i x, __m256i negative) {
    const __m256i low = _mm256_and_si256(negative, _mm256_set1_epi32(0x7fff));
    return _mm256_xor_si256(x, _mm256_or_si256(low, _mm256_set1_epi32(0x8000)));
  }

  // All ones where Rank of the ordered integer is at least `wanted`. One beyond the finite numbers
  // is an infinity, and reaches every rank or none.
  __m256i Reaches(__m256i ordered, __m256 wanted) const {
    const __m256i negative = _mm256_cmpgt_epi32(_mm256_set1_epi32(0x8000), ordered);
    const __m256 x = _mm256_castsi256_ps(_mm256_slli_epi32(Flip(ordered, negative), 16));
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

// TailBits: at most 16.
LYNX_SIMD int BitsOfRank(int32_t count) {
  return count <= 1 ? 0 : std::bit_width(static_cast<uint32_t>(count - 1));
}

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
    for (int t = begin; t < kPageTokens; ++t) {
      first[t / 2 * pair_stride + t % 2 * token_stride] = tokens[t];
    }
  }
};

class TailWriter {
 public:
  explicit TailWriter(std::byte* out) : begin_(out), out_(out) {}
  void Put(uint32_t value, int bits) {
    pending_ |= static_cast<uint64_t>(value) << count_;
    count_ += bits;
    if (count_ < 32) return;
    std::memcpy(out_, &pending_, 4);
    out_ += 4;
    pending_ >>= 32;
    count_ -= 32;
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
  // False at the end of the bytes. `bits` is at most 16.
  bool Get(int bits, uint32_t* value) {
    const size_t byte = at_ / 8;
    uint64_t word = 0;
    if (byte + 8 <= bytes_) {
      std::memcpy(&word, in_ + byte, 8);
    } else if (at_ + static_cast<size_t>(bits) > bytes_ * 8) {
      return false;
    } else if (byte < bytes_) {
      std::memcpy(&word, in_ + byte, bytes_ - byte);
    }
    *value = static_cast<uint32_t>(word >> at_ % 8) & ((1u << bits) - 1);
    at_ += static_cast<size_t>(bits);
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
        int32_t first[kPageTokens], count[kPageTokens];
        GroupPlace::Of(shape, side, head, c, const_cast<std::byte*>(args.page)).Load(tokens);
        const GroupIntervals group(ReadLo(part, c), ReadStep(part, c));
        for (int t = args.first_token / 8 * 8; t < kPageTokens; t += 8) {
          group.Find(group.CodesOf(LoadWords(tokens + t)), first + t, count + t);
        }
        for (int t = args.first_token; t < kPageTokens; ++t) {
          const int32_t rank = ToOrdered(bf16{tokens[t]}) - first[t];
          writer.Put(static_cast<uint32_t>(rank), BitsOfRank(count[t]));
        }
      }
    }
  }
  return writer.Finish();
}

// Reads one group's tokens; false as TailDecode.
bool ReadGroup(const GroupIntervals& group, const uint16_t* codes, int first_token,
               TailReader* reader, uint16_t* tokens) {
  int32_t first[kPageTokens], count[kPageTokens];
  for (int t = first_token / 8 * 8; t < kPageTokens; t += 8) {
    group.Find(LoadWords(codes + t), first + t, count + t);
  }
  for (int t = first_token; t < kPageTokens; ++t) {
    uint32_t rank;
    if (!reader->Get(BitsOfRank(count[t]), &rank)) return false;
    if (static_cast<int32_t>(rank) >= count[t]) return false;
    tokens[t] = FromOrdered(static_cast<uint16_t>(first[t] + static_cast<int32_t>(rank))).bits;
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
