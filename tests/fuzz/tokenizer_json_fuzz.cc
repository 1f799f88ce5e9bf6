// fuzz-links: lynx_model
// Input: a tokenizer.json, then perhaps a zero byte and a text. The file must load or be refused;
// the text must encode or be refused, and what was encoded must decode.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const auto tokenizer = lynx::Tokenizer::FromJson(input.substr(0, zero), "");
  if (!tokenizer.ok()) return 0;
  const std::string_view text = zero == input.npos ? input : input.substr(zero + 1);
  for (const bool parse_special : {false, true}) {
    const auto ids = (*tokenizer)->Encode(text, {.parse_special = parse_special});
    if (ids.ok()) (*tokenizer)->Decode(*ids, parse_special);
  }
  return 0;
}
