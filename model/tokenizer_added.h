// Added tokens: texts that become one token before the pre-tokenizer and the BPE see anything.
//
// Found as `tokenizers` finds them: leftmost first, of several at one place the longest; those with
// `normalized` in the normalized text, the others before in the raw text. Immutable; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace lynx {

struct AddedToken {
  std::string content;  // UTF-8
  int32_t id = -1;
  bool special = false;      // a control token: only looked for where the caller parses these
  bool single_word = false;  // not inside a word
  bool lstrip = false;       // swallows the white space before it
  bool rstrip = false;       // and behind it
  bool normalized = false;   // looked for in the normalized text
};

// A text's part: it ends before byte `end`, and special tokens wholly inside it are tokens or not.
// A text has a list of these, ascending, neighbours different, the last one's end its size.
struct ParseRegion {
  size_t end = 0;
  bool parse_special = true;
};

// A piece of the text: a token, or text if id is -1.
struct AddedPiece {
  size_t begin = 0;
  size_t end = 0;
  int32_t id = -1;
};

class AddedTokenMatcher {
 public:
  // Of equal contents the first counts; empty ones never match.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }

  // Cuts `text` (valid UTF-8) into pieces. `regions` describes text as above. A special token where
  // it is not parsed is passed over as a whole, like `tokenizers` with encode_special_tokens, but
  // never beyond its region's end.
  std::vector<AddedPiece> Split(std::string_view text, std::span<const ParseRegion> regions) const;

 private:
  // The longest token that starts at `pos`, or null.
  const AddedToken* LongestAt(std::string_view text, size_t pos) const;

  std::vector<AddedToken> tokens_;
  // A trie: state 0 is the root, (state << 8 | byte) leads to the next.
  absl::flat_hash_map<uint64_t, uint32_t> edges_;
  std::vector<int32_t> token_at_;  // [state], index into tokens_ or -1
  bool starts_[256] = {};          // the bytes with which a token begins
};

}  // namespace lynx
