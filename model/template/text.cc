#include "model/template/text.h"

#include <algorithm>

namespace lynx::jinja {

void Text::Append(std::string_view bytes, bool from_user) {
  if (bytes.empty()) return;
  bytes_.append(bytes);
  if (!runs_.empty() && runs_.back().from_user == from_user) {
    runs_.back().end = bytes_.size();
  } else {
    runs_.push_back({bytes_.size(), from_user});
  }
}

void Text::AppendRange(const Text& other, size_t begin, size_t end) {
  if (begin >= end) return;
  for (size_t run = other.RunAt(begin); begin < end; ++run) {
    const size_t stop = std::min(end, other.runs_[run].end);
    Append(std::string_view(other.bytes_).substr(begin, stop - begin), other.runs_[run].from_user);
    begin = stop;
  }
}

Text Text::Range(size_t begin, size_t end) const {
  Text out;
  out.AppendRange(*this, begin, end);
  return out;
}

size_t Text::RunAt(size_t offset) const {
  auto it = std::upper_bound(runs_.begin(), runs_.end(), offset,
                             [](size_t value, const Run& run) { return value < run.end; });
  return static_cast<size_t>(it - runs_.begin());
}

}  // namespace lynx::jinja
