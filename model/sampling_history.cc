#include "model/sampling_history.h"

#include <algorithm>

#include "runtime/status.h"

namespace lynx {

TokenCounts::TokenCounts(std::span<const int32_t> prompt) {
  std::vector<int32_t> ids(prompt.begin(), prompt.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  seen_.reserve(ids.size());
  for (int32_t id : ids) seen_.push_back({id, {.in_prompt = true}});
}

std::vector<TokenCounts::Seen>::iterator TokenCounts::LowerBound(int32_t id) {
  return std::lower_bound(seen_.begin(), seen_.end(), id,
                          [](const Seen& seen, int32_t wanted) { return seen.id < wanted; });
}

void TokenCounts::Push(int32_t id) {
  auto it = LowerBound(id);
  if (it == seen_.end() || it->id != id) it = seen_.insert(it, {id, {}});
  ++it->entry.output_count;
  output_.push_back(id);
}

void TokenCounts::Pop() {
  LYNX_CHECK(!output_.empty());
  const auto it = LowerBound(output_.back());
  LYNX_CHECK(it != seen_.end() && it->id == output_.back() && it->entry.output_count > 0);
  if (--it->entry.output_count == 0 && !it->entry.in_prompt) seen_.erase(it);
  output_.pop_back();
}

TokenCounts::Entry TokenCounts::Find(int32_t id) const {
  const auto it =
      std::lower_bound(seen_.begin(), seen_.end(), id,
                       [](const Seen& seen, int32_t wanted) { return seen.id < wanted; });
  return it == seen_.end() || it->id != id ? Entry{} : it->entry;
}

}  // namespace lynx
