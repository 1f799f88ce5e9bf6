#include "model/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>

namespace lynx {
namespace {

// Below this many bytes the scan's quadratic term is cheaper than a heap.
constexpr size_t kScanMaxBytes = 48;

uint64_t PairKey(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Bpe>> Bpe::Create(const BpeSpec& spec) {
  std::unique_ptr<Bpe> bpe(new Bpe());
  bpe->unk_id_ = spec.unk_id;
  bpe->fuse_unk_ = spec.fuse_unk;
  bpe->byte_ids_.fill(-1);
  const size_t vocab_size = spec.token_bytes.size();
  for (size_t id = 0; id < vocab_size; ++id) {
    const std::string& bytes = spec.token_bytes[id];
    if (!spec.in_bpe[id] || bytes.empty()) continue;
    if (bytes.size() == 1)
      bpe->byte_ids_[static_cast<uint8_t>(bytes[0])] = static_cast<int32_t>(id);
    if (spec.ignore_merges) bpe->whole_words_[bytes] = static_cast<int32_t>(id);
  }
  const size_t slots = std::bit_ceil(std::max<size_t>(2, 2 * spec.merges.size()));
  bpe->rules_.resize(slots);
  bpe->rules_shift_ = 64 - std::countr_zero(slots);
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const BpeMerge& m = spec.merges[rank];
    for (const int32_t id : {m.left, m.right, m.result}) {
      if (id < 0 || static_cast<size_t>(id) >= vocab_size) {
        return absl::InvalidArgumentError(
            absl::StrCat("tokenizer: merge ", rank, " names token ", id, " of ", vocab_size));
      }
    }
    bpe->InsertRule({PairKey(m.left, m.right), static_cast<uint32_t>(rank), m.result});
  }
  return bpe;
}

size_t Bpe::FindSlot(uint64_t pair) const {
  size_t slot = static_cast<size_t>(pair * 0x9E3779B97F4A7C15u >> rules_shift_);
  while (rules_[slot].pair != pair && rules_[slot].pair != kNoPair) {
    slot = (slot + 1) & (rules_.size() - 1);
  }
  return slot;
}

void Bpe::InsertRule(const Rule& rule) { rules_[FindSlot(rule.pair)] = rule; }

const Bpe::Rule* Bpe::FindRule(int32_t left, int32_t right) const {
  const Rule& rule = rules_[FindSlot(PairKey(left, right))];
  return rule.pair == kNoPair ? nullptr : &rule;
}

uint32_t Bpe::RankOf(int32_t left, int32_t right) const {
  const Rule* rule = FindRule(left, right);
  return rule == nullptr ? kNoRank : rule->rank;
}

void Bpe::StartSymbols(std::string_view word, std::vector<int32_t>* symbols) const {
  symbols->reserve(word.size());
  bool last_unknown = false;
  for (const char c : word) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
    if (id >= 0) {
      symbols->push_back(id);
    } else if (unk_id_ >= 0 && !(fuse_unk_ && last_unknown)) {
      symbols->push_back(unk_id_);
    }
    last_unknown = id < 0;
  }
}

void Bpe::MergeByScan(std::string_view word, std::vector<int32_t>* ids) const {
  std::vector<int32_t> symbols;
  StartSymbols(word, &symbols);
  std::vector<uint32_t> ranks;  // [i]: of the pair (i, i + 1)
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    ranks.push_back(RankOf(symbols[i], symbols[i + 1]));
  }
  while (!ranks.empty()) {
    const size_t i = std::min_element(ranks.begin(), ranks.end()) - ranks.begin();
    if (ranks[i] == kNoRank) break;
    symbols[i] = FindRule(symbols[i], symbols[i + 1])->result;
    symbols.erase(symbols.begin() + i + 1);
    ranks.erase(ranks.begin() + i);
    if (i < ranks.size()) ranks[i] = RankOf(symbols[i], symbols[i + 1]);
    if (i > 0) ranks[i - 1] = RankOf(symbols[i - 1], symbols[i]);
  }
  ids->insert(ids->end(), symbols.begin(), symbols.end());
}

void Bpe::MergeByHeap(std::string_view word, std::vector<int32_t>* ids) const {
  std::vector<int32_t> symbols;  // -1: merged into an earlier one
  StartSymbols(word, &symbols);
  const uint32_t n = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t> next(n), previous(n), ranks(n, kNoRank);
  // rank << 32 | position: the lowest rank first, then the leftmost. An entry whose rank is no
  // longer its position's is stale.
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> heap;
  const auto offer = [&](uint32_t i) {
    ranks[i] = next[i] < n ? RankOf(symbols[i], symbols[next[i]]) : kNoRank;
    if (ranks[i] != kNoRank) heap.push(uint64_t{ranks[i]} << 32 | i);
  };
  for (uint32_t i = 0; i < n; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;  // wraps for 0, which no one follows
  }
  for (uint32_t i = 0; i < n; ++i) offer(i);
  while (!heap.empty()) {
    const uint32_t i = static_cast<uint32_t>(heap.top());
    const uint32_t rank = static_cast<uint32_t>(heap.top() >> 32);
    heap.pop();
    if (symbols[i] < 0 || ranks[i] != rank) continue;
    const uint32_t gone = next[i];
    symbols[i] = FindRule(symbols[i], symbols[gone])->result;
    symbols[gone] = -1;
    next[i] = next[gone];
    if (next[i] < n) previous[next[i]] = i;
    offer(i);
    if (i > 0) offer(previous[i]);
  }
  std::copy_if(symbols.begin(), symbols.end(), std::back_inserter(*ids),
               [](int32_t id) { return id >= 0; });
}

void Bpe::MergeUncached(std::string_view word, std::vector<int32_t>* ids) const {
  if (word.size() <= kScanMaxBytes) {
    MergeByScan(word, ids);
  } else {
    MergeByHeap(word, ids);
  }
}

void Bpe::Encode(std::string_view word, std::vector<int32_t>* ids) const {
  if (cache_.Find(word, ids)) return;
  const size_t begin = ids->size();
  const auto whole = whole_words_.empty() ? whole_words_.end() : whole_words_.find(word);
  if (whole != whole_words_.end()) {
    ids->push_back(whole->second);
  } else {
    MergeUncached(word, ids);
  }
  cache_.Insert(word, std::span(*ids).subspan(begin));
}

}  // namespace lynx
