#include "model/detokenizer.h"

#include "model/tokenizer.h"
#include "model/tokenizer_utf8.h"

namespace lynx {
namespace {

// Where an incomplete character at the very end begins; text.size() if there is none.
size_t IncompleteTail(std::string_view text) {
  const size_t first = text.size() < 3 ? 0 : text.size() - 3;
  for (size_t pos = first; pos < text.size(); ++pos) {
    const Utf8Unit unit = NextUtf8Unit(text, pos);
    if (unit.state == Utf8State::kIncomplete) return pos;
  }
  return text.size();
}

}  // namespace

std::string Utf8Stream::Push(std::string_view bytes) {
  pending_ += bytes;
  const size_t whole = IncompleteTail(pending_);
  std::string text = RepairUtf8(std::string_view(pending_).substr(0, whole));
  pending_.erase(0, whole);
  return text;
}

std::string Utf8Stream::Finish() {
  std::string text = RepairUtf8(pending_);
  pending_.clear();
  return text;
}

std::string Detokenizer::Push(int32_t id) {
  if (skip_special_ && tokenizer_->IsSpecial(id)) return {};
  return stream_.Push(tokenizer_->TokenBytes(id));
}

}  // namespace lynx
