// What a tokenizer file says, whichever form it has: the loaders (tokenizer_gguf.cc,
// tokenizer_json.cc) fill it, Tokenizer is built from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/bpe.h"
#include "model/pretokenizer.h"
#include "model/tokenizer_added.h"
#include "runtime/status.h"

namespace lynx {

// Ids above this are refused: no known vocabulary comes near, and a corrupt id must not make us
// allocate gigabytes.
inline constexpr int32_t kMaxTokenId = (1 << 24) - 1;

struct TokenizerSpec {
  BpeSpec bpe;
  std::vector<AddedToken> added;
  std::vector<PreTokenizerStep> steps;
  bool normalize_nfc = false;
  int32_t bos_id = -1;  // -1: the file names none
  int32_t eos_id = -1;
  std::vector<int32_t> prefix_ids;  // what add_special_tokens puts before a text
  std::vector<int32_t> suffix_ids;  // and behind it
};

// The bytes that a vocabulary entry stands for. Byte-level vocabularies write each byte as one
// printable character (a space is U+0120); an entry with any other character stands for itself, as
// in the ByteLevel decoder of `tokenizers`.
std::string ByteLevelDecode(std::string_view entry);

// The bytes of an entry that is written in byte-level characters only; nullopt for another.
std::optional<std::string> ByteLevelDecodeStrict(std::string_view entry);

// Whether every id of the spec lies in its vocabulary, every merge makes sense, and so on: what
// both loaders must guarantee. INVALID_ARGUMENT otherwise.
absl::Status ValidateSpec(const TokenizerSpec& spec);

}  // namespace lynx
