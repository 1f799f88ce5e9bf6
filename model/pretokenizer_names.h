// The pre-tokenizers that a GGUF file names in tokenizer.ggml.pre.
#pragma once

#include <string_view>
#include <vector>

#include "model/pretokenizer.h"
#include "runtime/status.h"

namespace lynx {

struct NamedPreTokenizer {
  std::vector<PreTokenizerStep> steps;
  bool normalize_nfc = false;
  bool ignore_merges = false;
  bool add_bos = false;  // unless tokenizer.ggml.add_bos_token says otherwise
};

// UNIMPLEMENTED for an unknown name; the message lists the known ones.
absl::StatusOr<NamedPreTokenizer> FindNamedPreTokenizer(std::string_view name);

}  // namespace lynx
