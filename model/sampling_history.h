// Which tokens a sequence holds, for the penalties: the prompt's as a set, the output's with
// counts. Push and Pop follow a path of drafts and take it back, so no row needs a copy.
//
// Thread: the owner's only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace lynx {

class TokenCounts {
 public:
  struct Entry {
    bool in_prompt = false;
    int64_t output_count = 0;
  };

  TokenCounts() = default;
  explicit TokenCounts(std::span<const int32_t> prompt);

  // Appends a token to the output.
  void Push(int32_t id);
  // Takes back the last token pushed; there must be one.
  void Pop();

  int64_t output_size() const { return static_cast<int64_t>(output_.size()); }

  // All zero for a token that was not seen.
  Entry Find(int32_t id) const;

  // f(id, entry) for every token seen, in no particular order.
  template <typename F>
  void ForEach(F&& f) const {
    for (const auto& [id, entry] : entries_) f(id, entry);
  }

 private:
  absl::flat_hash_map<int32_t, Entry> entries_;  // none is all zero
  std::vector<int32_t> output_;
};

}  // namespace lynx
