// Byte-pair encoding of one pre-token ("word"): starts with one symbol a byte and merges the
// adjacent pair of the lowest rank, leftmost first, until no pair has a rule.
//
// Short words scan for the lowest rank; long ones use a heap over a linked list, so a megabyte
// without a split costs n log n. Frequent words come from a bounded cache. Immutable beside the
// cache, which locks; any thread may encode.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "model/bpe_cache.h"
#include "runtime/status.h"

namespace lynx {

// Lets maps of std::string be searched by std::string_view.
struct BytesHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
};

struct BpeMerge {  // its index in BpeSpec::merges is its rank; of equal pairs the last counts
  int32_t left = 0;
  int32_t right = 0;
  int32_t result = 0;
};

struct BpeSpec {
  std::vector<std::string> token_bytes;  // [id]; empty for ids that no token has
  std::vector<uint8_t> in_bpe;           // [id]; 1: the BPE may make this token
  std::vector<BpeMerge> merges;
  bool ignore_merges = false;  // a word that is a token becomes it, whatever the merges say
  int32_t unk_id = -1;         // for bytes that have no token; -1: they are left out
  bool fuse_unk = false;       // adjacent unknown bytes give one unk_id
};

class Bpe {
 public:
  // INVALID_ARGUMENT if a merge names ids outside the vocabulary.
  static absl::StatusOr<std::unique_ptr<const Bpe>> Create(const BpeSpec& spec);

  // Appends the ids of `word`, fewer than 2^31 bytes.
  void Encode(std::string_view word, std::vector<int32_t>* ids) const;

  // The same without whole-word lookup and cache, by one given method: for tests.
  void MergeByScan(std::string_view word, std::vector<int32_t>* ids) const;
  void MergeByHeap(std::string_view word, std::vector<int32_t>* ids) const;

 private:
  struct Rule {
    uint64_t pair = kNoPair;
    uint32_t rank = 0;
    int32_t result = 0;
  };
  static constexpr uint64_t kNoPair = ~uint64_t{0};
  static constexpr uint32_t kNoRank = ~uint32_t{0};

  Bpe() = default;
  void InsertRule(const Rule& rule);
  // The rule's index, or that of an empty slot, whose rank counts as kNoRank.
  size_t FindSlot(uint64_t pair) const;
  const Rule* FindRule(int32_t left, int32_t right) const;
  uint32_t RankOf(int32_t left, int32_t right) const;
  void StartSymbols(std::string_view word, std::vector<int32_t>* symbols) const;
  void MergeUncached(std::string_view word, std::vector<int32_t>* ids) const;

  std::array<int32_t, 256> byte_ids_;  // -1: the vocabulary lacks this byte
  std::vector<Rule> rules_;  // open addressing, a power of two of slots, at most half full
  int rules_shift_ = 0;      // 64 - log2(slots)
  absl::flat_hash_map<std::string, int32_t, BytesHash, std::equal_to<>>
      whole_words_;  // filled if ignore_merges
  int32_t unk_id_ = -1;
  bool fuse_unk_ = false;
  mutable BpeCache cache_;
};

}  // namespace lynx
