#include "transfer/grant_table.h"

#include <algorithm>
#include <utility>

#include "transfer/frame.h"

namespace lynx {
namespace {

bool Contains(const GrantRange& r, const BlockId& id) {
  return id.kind == r.kind && id.layer >= r.first_layer && id.layer - r.first_layer < r.layers &&
         id.page >= r.first_page && id.page - r.first_page < r.pages;
}

size_t IndexOf(const GrantRange& r, const BlockId& id) {
  return static_cast<size_t>(id.layer - r.first_layer) * r.pages + (id.page - r.first_page);
}

BlockId IdAt(const GrantRange& r, size_t index) {
  return {r.first_layer + static_cast<uint32_t>(index / r.pages), r.kind,
          r.first_page + static_cast<uint32_t>(index % r.pages)};
}

bool IsMissing(BlockState s) { return s == BlockState::kAbsent || s == BlockState::kLanding; }

// Rectangles that cannot share a block need no look at every block.
bool Apart(const GrantRange& a, const GrantRange& b) {
  return a.kind != b.kind || a.first_layer >= b.first_layer + b.layers ||
         b.first_layer >= a.first_layer + a.layers || a.first_page >= b.first_page + b.pages ||
         b.first_page >= a.first_page + a.pages;
}

}  // namespace

GrantRange MakeGrantRange(BlockKind kind, uint32_t layers, uint32_t first_page, uint32_t pages,
                          uint64_t block_bytes,
                          absl::FunctionRef<std::byte*(uint32_t layer, uint32_t page)> at) {
  GrantRange range{.kind = kind,
                   .first_layer = 0,
                   .layers = layers,
                   .first_page = first_page,
                   .pages = pages,
                   .block_bytes = block_bytes};
  range.memory.reserve(static_cast<size_t>(layers) * pages);
  for (uint32_t layer = 0; layer < layers; ++layer) {
    for (uint32_t p = 0; p < pages; ++p) range.memory.push_back(at(layer, first_page + p));
  }
  return range;
}

absl::Status GrantTable::Check(const GrantRange& r) {
  bool fits = static_cast<int>(r.kind) < kBlockKinds && r.first_layer <= kMaxLayers &&
              r.layers <= kMaxLayers - r.first_layer && r.first_page <= kMaxPages &&
              r.pages <= kMaxPages - r.first_page && r.block_bytes <= kMaxPayloadBytes &&
              r.block_bytes > 0 && r.memory.size() == static_cast<size_t>(r.layers) * r.pages;
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("grant of kind ", BlockKindName(r.kind), ": layers ", r.first_layer, " + ",
                   r.layers, ", pages ", r.first_page, " + ", r.pages, ", ", r.block_bytes,
                   " bytes a block, ", r.memory.size(), " addresses"));
}

bool GrantTable::Overlaps(const GrantRange& range) {
  bool apart = std::all_of(ranges_.begin(), ranges_.end(),
                           [&](const Range& other) { return Apart(other.grant, range); });
  if (apart) return false;
  for (size_t i = 0; i < range.memory.size(); ++i) {
    if (range.memory[i] != nullptr && Find(IdAt(range, i)).state != nullptr) return true;
  }
  return false;
}

absl::Status GrantTable::Add(std::vector<GrantRange> ranges) {
  const size_t before = ranges_.size();
  absl::Status status;
  for (GrantRange& range : ranges) {
    status = Check(range);
    if (status.ok() && Overlaps(range)) {
      status = absl::InvalidArgumentError(
          absl::StrCat("a block of kind ", BlockKindName(range.kind), " is granted twice"));
    }
    if (!status.ok()) break;
    std::vector<BlockState> state(range.memory.size(), BlockState::kAbsent);
    ranges_.push_back({std::move(range), std::move(state)});
  }
  if (!status.ok()) ranges_.resize(before);
  return status;
}

GrantTable::Slot GrantTable::Find(const BlockId& id) {
  for (Range& range : ranges_) {
    if (!Contains(range.grant, id)) continue;
    size_t index = IndexOf(range.grant, id);
    if (range.grant.memory[index] == nullptr) continue;
    return {.memory = range.grant.memory[index],
            .bytes = range.grant.block_bytes,
            .variable = ClassOf(id.kind) == BlockClass::kTail,
            .state = &range.state[index]};
  }
  return {};
}

std::vector<BlockId> GrantTable::Missing(size_t limit) const {
  std::vector<BlockId> missing;
  for (const Range& range : ranges_) {
    for (size_t i = 0; i < range.state.size(); ++i) {
      if (range.grant.memory[i] != nullptr && IsMissing(range.state[i])) {
        missing.push_back(IdAt(range.grant, i));
      }
    }
  }
  std::sort(missing.begin(), missing.end());
  if (missing.size() > limit) missing.resize(limit);
  return missing;
}

int64_t GrantTable::MissingCount(BlockClass c) const {
  int64_t count = 0;
  for (const Range& range : ranges_) {
    if (ClassOf(range.grant.kind) != c) continue;
    for (size_t i = 0; i < range.state.size(); ++i) {
      count += range.grant.memory[i] != nullptr && IsMissing(range.state[i]);
    }
  }
  return count;
}

}  // namespace lynx
