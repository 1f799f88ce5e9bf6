#include "model/bpe_cache.h"

#include <algorithm>
#include <cstring>

#include "xxhash.h"

namespace lynx {

BpeCache::BpeCache() : stripes_(kStripes) {}

bool BpeCache::Find(std::string_view word, std::vector<int32_t>* ids) const {
  if (word.empty() || word.size() > Slot::kMaxBytes) return false;
  const uint64_t hash = XXH3_64bits(word.data(), word.size());
  const Stripe& stripe = stripes_[hash % kStripes];
  absl::MutexLock lock(&stripe.mutex);
  const Slot& slot = stripe.slots[hash / kStripes % stripe.slots.size()];
  if (slot.bytes != word.size() || std::memcmp(slot.word, word.data(), word.size()) != 0) {
    return false;
  }
  ids->insert(ids->end(), slot.id, slot.id + slot.ids);
  return true;
}

void BpeCache::Insert(std::string_view word, std::span<const int32_t> ids) {
  if (word.empty() || word.size() > Slot::kMaxBytes || ids.size() > Slot::kMaxIds) return;
  const uint64_t hash = XXH3_64bits(word.data(), word.size());
  Stripe& stripe = stripes_[hash % kStripes];
  absl::MutexLock lock(&stripe.mutex);
  Slot& slot = stripe.slots[hash / kStripes % stripe.slots.size()];
  slot.bytes = static_cast<uint8_t>(word.size());
  slot.ids = static_cast<uint8_t>(ids.size());
  std::memcpy(slot.word, word.data(), word.size());
  std::copy(ids.begin(), ids.end(), slot.id);
}

}  // namespace lynx
