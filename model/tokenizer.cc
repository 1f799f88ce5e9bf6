#include "model/tokenizer.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "model/tokenizer_nfc.h"
#include "model/tokenizer_utf8.h"

namespace lynx {
namespace {

// Oniguruma counts in int.
constexpr size_t kMaxTextBytes = size_t{1} << 30;

// The added tokens with this `normalized`; texts that are looked for in normalized text are
// normalized too.
std::vector<AddedToken> SelectAdded(const TokenizerSpec& spec, bool normalized) {
  std::vector<AddedToken> out;
  for (const AddedToken& token : spec.added) {
    if (token.normalized != normalized) continue;
    out.push_back(token);
    if (normalized && spec.normalize_nfc) out.back().content = NormalizeNfc(token.content);
  }
  return out;
}

// The regions of text[begin, end).
std::vector<ParseRegion> SliceRegions(std::span<const ParseRegion> regions, size_t begin,
                                      size_t end) {
  std::vector<ParseRegion> out;
  for (const ParseRegion& r : regions) {
    if (r.end <= begin) continue;
    out.push_back({std::min(r.end, end) - begin, r.parse_special});
    if (r.end >= end) break;
  }
  return out;
}

// `text` in NFC, each region by itself; `regions` gets the new ends. A character is not composed
// across a border then, which only matters where marks of a user follow a template's letter.
std::string NormalizeByRegion(std::string_view text, std::vector<ParseRegion>* regions) {
  std::string out;
  size_t begin = 0;
  for (ParseRegion& r : *regions) {
    out += NormalizeNfc(text.substr(begin, r.end - begin));
    begin = r.end;
    r.end = out.size();
  }
  return out;
}

}  // namespace

Tokenizer::Tokenizer(const TokenizerSpec& spec, std::unique_ptr<const Bpe> bpe,
                     std::unique_ptr<const PreTokenizer> pretokenizer)
    : special_(spec.bpe.token_bytes.size()),
      bpe_(std::move(bpe)),
      pretokenizer_(std::move(pretokenizer)),
      raw_added_(SelectAdded(spec, false)),
      normalized_added_(SelectAdded(spec, true)),
      normalize_nfc_(spec.normalize_nfc),
      bos_id_(spec.bos_id),
      eos_id_(spec.eos_id),
      prefix_ids_(spec.prefix_ids),
      suffix_ids_(spec.suffix_ids) {
  const std::vector<std::string>& tokens = spec.bpe.token_bytes;
  id_by_bytes_.reserve(tokens.size());
  for (const std::string& token : tokens) {
    offsets_.push_back(static_cast<uint32_t>(bytes_.size()));
    if (!token.empty()) id_by_bytes_[token] = static_cast<int32_t>(offsets_.size()) - 1;
    bytes_ += token;
  }
  offsets_.push_back(static_cast<uint32_t>(bytes_.size()));
  for (const AddedToken& token : spec.added) {
    if (token.special) special_[token.id] = 1;
    id_by_bytes_[token.content] = token.id;
  }
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Create(const TokenizerSpec& spec) {
  RETURN_IF_ERROR(ValidateSpec(spec));
  ASSIGN_OR_RETURN(auto bpe, Bpe::Create(spec.bpe));
  ASSIGN_OR_RETURN(auto pretokenizer, PreTokenizer::Create(spec.steps));
  return std::unique_ptr<const Tokenizer>(
      new Tokenizer(spec, std::move(bpe), std::move(pretokenizer)));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                                       const EncodeOptions& options) const {
  const TextSpan span{text, options.parse_special};
  return EncodeSpans({&span, 1}, options.add_special_tokens);
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeSpans(std::span<const TextSpan> spans,
                                                            bool add_special_tokens) const {
  size_t bytes = 0;
  for (const TextSpan& span : spans) {
    bytes += span.text.size();
    if (span.text.size() > kMaxTextBytes || bytes > kMaxTextBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer: the text has more than ", kMaxTextBytes, " bytes"));
    }
  }
  if (spans.size() == 1 && ValidUtf8Prefix(spans[0].text) == bytes) {
    const ParseRegion region{bytes, spans[0].parse_special};
    return EncodeRegions(spans[0].text, {&region, 1}, add_special_tokens);
  }
  std::string text;
  std::vector<ParseRegion> regions;
  for (const TextSpan& span : spans) {
    if (span.text.empty()) continue;
    text += RepairUtf8(span.text);
    if (regions.empty() || regions.back().parse_special != span.parse_special) {
      regions.push_back({0, span.parse_special});
    }
    regions.back().end = text.size();
  }
  return EncodeRegions(text, regions, add_special_tokens);
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeRegions(std::string_view text,
                                                              std::span<const ParseRegion> regions,
                                                              bool add_special_tokens) const {
  std::vector<int32_t> ids;
  if (add_special_tokens) ids = prefix_ids_;
  for (const AddedPiece& piece : raw_added_.Split(text, regions)) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
      continue;
    }
    RETURN_IF_ERROR(EncodeUnmatched(text.substr(piece.begin, piece.end - piece.begin),
                                    SliceRegions(regions, piece.begin, piece.end), &ids));
  }
  if (add_special_tokens) ids.insert(ids.end(), suffix_ids_.begin(), suffix_ids_.end());
  return ids;
}

absl::Status Tokenizer::EncodeUnmatched(std::string_view text, std::span<const ParseRegion> regions,
                                        std::vector<int32_t>* ids) const {
  const bool normalize = normalize_nfc_ && !IsSurelyNfc(text);
  if (normalized_added_.empty()) {
    return EncodeNormalized(normalize ? std::string_view(NormalizeNfc(text)) : text, ids);
  }
  std::vector<ParseRegion> own_regions(regions.begin(), regions.end());
  std::string buffer;
  if (normalize) {
    buffer = NormalizeByRegion(text, &own_regions);
    text = buffer;
  }
  for (const AddedPiece& piece : normalized_added_.Split(text, own_regions)) {
    if (piece.id >= 0) {
      ids->push_back(piece.id);
    } else {
      RETURN_IF_ERROR(EncodeNormalized(text.substr(piece.begin, piece.end - piece.begin), ids));
    }
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::EncodeNormalized(std::string_view text, std::vector<int32_t>* ids) const {
  return pretokenizer_->Split(text, [&](std::string_view word) { bpe_->Encode(word, ids); });
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (!(skip_special && IsSpecial(id))) bytes += TokenBytes(id);
  }
  return RepairUtf8(bytes);
}

std::string_view Tokenizer::TokenBytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  return std::string_view(bytes_).substr(offsets_[id], offsets_[id + 1] - offsets_[id]);
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < vocab_size() && special_[id] != 0;
}

int32_t Tokenizer::FindToken(std::string_view text) const {
  const auto it = id_by_bytes_.find(text);
  return it == id_by_bytes_.end() ? -1 : it->second;
}

}  // namespace lynx
