// Text to token ids and back: byte-level BPE as in `tokenizers`, from a GGUF file's metadata or a
// Hugging Face tokenizer.json. What a file asks for and this does not know is an error when it is
// loaded, never a different id.
//
// Immutable once made: any thread may call any method, several at once. Views point into the
// object.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/bpe.h"
#include "model/pretokenizer.h"
#include "model/tokenizer_added.h"
#include "model/tokenizer_spec.h"
#include "runtime/status.h"

namespace lynx {

class GgufFile;

struct EncodeOptions {
  // What the file puts around every text (often BOS, often nothing).
  bool add_special_tokens = false;
  // Texts of control tokens become these tokens; otherwise they are text like any other. Added
  // tokens that are not control tokens (Qwen3's <think>, say) are found either way.
  bool parse_special = true;
};

// Part of a prompt: a chat template's own text parses special tokens, a user's does not.
struct TextSpan {
  std::string_view text;
  bool parse_special = false;
};

class Tokenizer {
 public:
  // tokenizer.ggml.*: model "gpt2" only, with a known `pre`.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> FromGguf(const GgufFile& file);
  // `config_json`: tokenizer_config.json, which names BOS and EOS; empty if there is none.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> FromJson(std::string_view tokenizer_json,
                                                                   std::string_view config_json);
  // A folder with tokenizer.json and perhaps tokenizer_config.json. Errors name the file.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> FromFolder(const std::string& folder);
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Create(const TokenizerSpec& spec);

  // Broken UTF-8 counts as U+FFFD, like Python's bytes.decode("utf-8", "replace"). Fails only on a
  // text of more than 1 GiB (INVALID_ARGUMENT) or one that drives the file's pattern beyond its
  // limits (RESOURCE_EXHAUSTED): see pretokenizer.h.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const EncodeOptions& options = {}) const;

  // The ids of the spans' concatenation, where a control token is found only inside neighbouring
  // spans that parse them: where user text looks like none, the same ids as for one string. Each
  // span's broken UTF-8 is replaced by itself.
  absl::StatusOr<std::vector<int32_t>> EncodeSpans(std::span<const TextSpan> spans,
                                                   bool add_special_tokens) const;

  // The tokens' bytes, joined; what is broken becomes U+FFFD. Ids out of range give nothing.
  std::string Decode(std::span<const int32_t> ids, bool skip_special) const;

  // The raw bytes of a token; empty if out of range. A character may be spread over several tokens.
  std::string_view TokenBytes(int32_t id) const;
  // Whether it is a control token; false if out of range.
  bool IsSpecial(int32_t id) const;
  // The id whose bytes or, for an added token, whose text is `text`; -1 if none.
  int32_t FindToken(std::string_view text) const;

  // Ids are 0 .. vocab_size() - 1. A model's own vocabulary may be larger (padding).
  int32_t vocab_size() const { return static_cast<int32_t>(offsets_.size()) - 1; }
  int32_t bos_id() const { return bos_id_; }  // -1: none
  int32_t eos_id() const { return eos_id_; }

 private:
  using IdByBytes = absl::flat_hash_map<std::string, int32_t, BytesHash, std::equal_to<>>;

  Tokenizer(const TokenizerSpec& spec, std::unique_ptr<const Bpe> bpe,
            std::unique_ptr<const PreTokenizer> pretokenizer);
  absl::StatusOr<std::vector<int32_t>> EncodeRegions(std::string_view text,
                                                     std::span<const ParseRegion> regions,
                                                     bool add_special_tokens) const;
  absl::Status EncodeUnmatched(std::string_view text, std::span<const ParseRegion> regions,
                               std::vector<int32_t>* ids) const;
  absl::Status EncodeNormalized(std::string_view text, std::vector<int32_t>* ids) const;

  std::string bytes_;              // all tokens' bytes
  std::vector<uint32_t> offsets_;  // [id]: where its bytes begin; one more at the end
  std::vector<uint8_t> special_;   // [id]
  IdByBytes id_by_bytes_;
  std::unique_ptr<const Bpe> bpe_;
  std::unique_ptr<const PreTokenizer> pretokenizer_;
  AddedTokenMatcher raw_added_;         // those not `normalized`
  AddedTokenMatcher normalized_added_;  // those that are
  bool normalize_nfc_;
  int32_t bos_id_;
  int32_t eos_id_;
  std::vector<int32_t> prefix_ids_;
  std::vector<int32_t> suffix_ids_;
};

}  // namespace lynx
