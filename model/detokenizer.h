// Streams of tokens into text: what is given out is always whole characters, and in sum exactly
// Tokenizer::Decode of all tokens.
//
// One object a stream, one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lynx {

class Tokenizer;

// Holds back at most the three bytes of an incomplete character.
class Utf8Stream {
 public:
  // The text that `bytes` complete; what can no longer become a character is U+FFFD.
  std::string Push(std::string_view bytes);
  // The end of the stream: an incomplete character gives one U+FFFD. Starts anew.
  std::string Finish();

 private:
  std::string pending_;
};

class Detokenizer {
 public:
  // `tokenizer` outlives this. `skip_special`: control tokens give no text.
  Detokenizer(const Tokenizer* tokenizer, bool skip_special)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  std::string Push(int32_t id);
  std::string Finish() { return stream_.Finish(); }

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  Utf8Stream stream_;
};

}  // namespace lynx
