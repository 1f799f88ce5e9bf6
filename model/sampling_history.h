// Which tokens a sequence holds, for the penalties: the prompt's as a set, the output's with
// counts. Push and Pop follow a path of drafts and take it back, so no row needs a copy.
//
// Thread: the owner's only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lynx {

class TokenCounts {
 public:
  struct Entry {
    bool in_prompt = false;
    int32_t output_count = 0;
  };

  TokenCounts() = default;
  explicit TokenCounts(std::span<const int32_t> prompt);

  // Appends a token to the output.
  void Push(int32_t id);
  // Takes back the last token pushed; there must be one.
  void Pop();

  int64_t output_size() const { return static_cast<int64_t>(output_.size()); }
  // Different tokens seen.
  int64_t size() const { return static_cast<int64_t>(seen_.size()); }

  // All zero for a token that was not seen.
  Entry Find(int32_t id) const;

  // f(id, entry) for every token seen, in ascending order of ids.
  template <typename F>
  void ForEach(F&& f) const {
    for (const Seen& seen : seen_) f(seen.id, seen.entry);
  }

 private:
  struct Seen {
    int32_t id = 0;
    Entry entry{};  // not all zero
  };
  std::vector<Seen>::iterator LowerBound(int32_t id);

  // Sorted rather than hashed: a device wants it so at every step, and a step adds one token.
  std::vector<Seen> seen_;
  std::vector<int32_t> output_;
};

}  // namespace lynx
