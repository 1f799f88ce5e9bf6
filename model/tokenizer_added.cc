#include "model/tokenizer_added.h"

#include <oniguruma.h>

#include <algorithm>
#include <utility>

#include "model/tokenizer_utf8.h"

namespace lynx {
namespace {

// Where the last character before `pos` begins; pos > 0.
size_t PreviousCharacter(std::string_view text, size_t pos) {
  do {
    --pos;
  } while (pos > 0 && (static_cast<uint8_t>(text[pos]) & 0xC0) == 0x80);
  return pos;
}

bool IsSpace(char32_t c) { return ONIGENC_IS_CODE_SPACE(ONIG_ENCODING_UTF8, c); }
bool IsWord(char32_t c) { return ONIGENC_IS_CODE_WORD(ONIG_ENCODING_UTF8, c); }

bool InsideWord(std::string_view text, size_t begin, size_t end) {
  return (begin > 0 && IsWord(DecodeUtf8(text, PreviousCharacter(text, begin)))) ||
         (end < text.size() && IsWord(DecodeUtf8(text, end)));
}

size_t SkipSpaceBack(std::string_view text, size_t pos, size_t limit) {
  while (pos > limit) {
    const size_t before = PreviousCharacter(text, pos);
    if (before < limit || !IsSpace(DecodeUtf8(text, before))) break;
    pos = before;
  }
  return pos;
}

size_t SkipSpace(std::string_view text, size_t pos) {
  while (pos < text.size() && IsSpace(DecodeUtf8(text, pos))) pos += NextUtf8Unit(text, pos).size;
  return pos;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  token_at_.push_back(-1);
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& content = tokens_[i].content;
    if (content.empty()) continue;
    starts_[static_cast<uint8_t>(content[0])] = true;
    uint32_t state = 0;
    for (const char c : content) {
      const uint64_t edge = uint64_t{state} << 8 | static_cast<uint8_t>(c);
      const auto [it, added] = edges_.try_emplace(edge, static_cast<uint32_t>(token_at_.size()));
      if (added) token_at_.push_back(-1);
      state = it->second;
    }
    if (token_at_[state] < 0) token_at_[state] = static_cast<int32_t>(i);
  }
}

const AddedToken* AddedTokenMatcher::LongestAt(std::string_view text, size_t pos) const {
  int32_t found = -1;
  uint32_t state = 0;
  for (; pos < text.size(); ++pos) {
    const auto it = edges_.find(uint64_t{state} << 8 | static_cast<uint8_t>(text[pos]));
    if (it == edges_.end()) break;
    state = it->second;
    if (token_at_[state] >= 0) found = token_at_[state];
  }
  return found < 0 ? nullptr : &tokens_[found];
}

std::vector<AddedPiece> AddedTokenMatcher::Split(std::string_view text,
                                                 std::span<const ParseRegion> regions) const {
  std::vector<AddedPiece> pieces;
  size_t done = 0;    // text before this is in `pieces`
  size_t region = 0;  // the one that holds `pos`
  for (size_t pos = 0; pos < text.size();) {
    const AddedToken* token =
        starts_[static_cast<uint8_t>(text[pos])] ? LongestAt(text, pos) : nullptr;
    if (token == nullptr) {
      ++pos;
      continue;
    }
    while (regions[region].end <= pos) ++region;
    const size_t match_end = pos + token->content.size();
    if (token->special && !(regions[region].parse_special && match_end <= regions[region].end)) {
      pos = std::min(match_end, regions[region].end);
      continue;
    }
    if (token->single_word && InsideWord(text, pos, match_end)) {
      pos = match_end;
      continue;
    }
    const size_t begin = token->lstrip ? SkipSpaceBack(text, pos, done) : pos;
    const size_t end = token->rstrip ? SkipSpace(text, match_end) : match_end;
    if (done < begin) pieces.push_back({done, begin, -1});
    pieces.push_back({begin, end, token->id});
    done = end;
    pos = match_end;
  }
  if (done < text.size()) pieces.push_back({done, text.size(), -1});
  return pieces;
}

}  // namespace lynx
