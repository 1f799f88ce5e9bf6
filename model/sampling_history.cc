#include "model/sampling_history.h"

#include "runtime/status.h"

namespace lynx {

TokenCounts::TokenCounts(std::span<const int32_t> prompt) {
  for (int32_t id : prompt) entries_[id].in_prompt = true;
}

void TokenCounts::Push(int32_t id) {
  ++entries_[id].output_count;
  output_.push_back(id);
}

void TokenCounts::Pop() {
  LYNX_CHECK(!output_.empty());
  auto it = entries_.find(output_.back());
  LYNX_CHECK(it != entries_.end() && it->second.output_count > 0);
  if (--it->second.output_count == 0 && !it->second.in_prompt) entries_.erase(it);
  output_.pop_back();
}

TokenCounts::Entry TokenCounts::Find(int32_t id) const {
  auto it = entries_.find(id);
  return it == entries_.end() ? Entry{} : it->second;
}

}  // namespace lynx
