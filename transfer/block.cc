#include "transfer/block.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lynx {

const char* BlockKindName(BlockKind kind) {
  switch (kind) {
    case BlockKind::kAnchorPage:
      return "anchor";
    case BlockKind::kResidualPage:
      return "residual";
    case BlockKind::kTailPage:
      return "tail";
    case BlockKind::kRawPage:
      return "raw";
    case BlockKind::kSinks:
      return "sinks";
    case BlockKind::kPartial:
      return "partial";
  }
  return "unknown";
}

std::string ToString(const TransferKey& key) {
  absl::string_view raw(reinterpret_cast<const char*>(key.id.bytes.data()), key.id.bytes.size());
  return absl::StrCat(absl::BytesToHexString(raw), "/", key.epoch);
}

}  // namespace lynx
