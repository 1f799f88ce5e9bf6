#include "model/tokenizer_spec.h"

#include <array>

#include "model/quoted.h"
#include "model/tokenizer_utf8.h"

namespace lynx {
namespace {

// Byte-level characters are U+0021 to U+0143: a printable Latin-1 byte is its own character, the
// other 68 bytes follow from U+0100 on in their order.
constexpr char32_t kByteLevelEnd = 0x100 + 68;

bool StandsForItself(uint32_t b) {
  return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
}

std::array<int16_t, kByteLevelEnd> MakeCharToByte() {
  std::array<int16_t, kByteLevelEnd> table;
  table.fill(-1);
  char32_t next = 0x100;
  for (uint32_t b = 0; b < 256; ++b) {
    table[StandsForItself(b) ? b : next++] = static_cast<int16_t>(b);
  }
  return table;
}

absl::Status CheckIds(const std::vector<int32_t>& ids, size_t vocab_size, std::string_view what) {
  for (const int32_t id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer: ", std::string(what), " id ", id, " is not in the vocabulary"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::optional<std::string> ByteLevelDecodeStrict(std::string_view entry) {
  static const std::array<int16_t, kByteLevelEnd> char_to_byte = MakeCharToByte();
  std::string bytes;
  bytes.reserve(entry.size());
  for (size_t pos = 0; pos < entry.size();) {
    const Utf8Unit unit = NextUtf8Unit(entry, pos);
    if (unit.state != Utf8State::kValid) return std::nullopt;
    const char32_t c = DecodeUtf8(entry, pos);
    if (c >= kByteLevelEnd || char_to_byte[c] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(char_to_byte[c]));
    pos += unit.size;
  }
  return bytes;
}

std::string ByteLevelDecode(std::string_view entry) {
  std::optional<std::string> bytes = ByteLevelDecodeStrict(entry);
  return bytes ? *std::move(bytes) : std::string(entry);
}

absl::Status ValidateSpec(const TokenizerSpec& spec) {
  const size_t vocab_size = spec.bpe.token_bytes.size();
  if (vocab_size == 0) return absl::InvalidArgumentError("tokenizer: the vocabulary is empty");
  std::vector<int32_t> named;
  for (const int32_t id : {spec.bos_id, spec.eos_id, spec.bpe.unk_id}) {
    if (id != -1) named.push_back(id);
  }
  RETURN_IF_ERROR(CheckIds(named, vocab_size, "bos, eos or unknown token"));
  RETURN_IF_ERROR(CheckIds(spec.prefix_ids, vocab_size, "leading special token"));
  RETURN_IF_ERROR(CheckIds(spec.suffix_ids, vocab_size, "trailing special token"));
  for (const AddedToken& token : spec.added) {
    RETURN_IF_ERROR(CheckIds({token.id}, vocab_size, "added token " + Quoted(token.content)));
    if (ValidUtf8Prefix(token.content) != token.content.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer: added token ", Quoted(token.content), " is not UTF-8"));
    }
  }
  return absl::OkStatus();
}

}  // namespace lynx
