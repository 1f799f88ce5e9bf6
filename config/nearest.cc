#include "config/nearest.h"

#include <algorithm>

namespace lynx {
namespace {

size_t EditDistance(std::string_view a, std::string_view b) {
  // Rows of the usual table for the last two letters of a and this one.
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string_view LastPart(std::string_view path) { return path.substr(path.rfind('.') + 1); }

}  // namespace

std::string NearestPath(std::string_view path, const std::vector<std::string>& names) {
  path = path.substr(0, 128);  // no name is as long, and the table grows with it
  const std::string* nearest = nullptr;
  size_t least = 0;
  for (const std::string& name : names) {
    const size_t distance =
        std::min(EditDistance(path, name), 1 + EditDistance(LastPart(path), LastPart(name)));
    if (nearest == nullptr || distance < least) {
      nearest = &name;
      least = distance;
    }
  }
  return *nearest;
}

}  // namespace lynx
